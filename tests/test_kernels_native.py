"""The host's kernels in programs of their own: no kernel reads or writes where it must not.

Level 1 of a 64-bit x86 is also built as other CPUs have it, in plain C.
"""

# SPDX-License-Identifier: MIT

import platform
import shutil
from pathlib import Path

import native
import pytest
from known import differences, known

X86 = platform.machine() in ("x86_64", "AMD64")
SMALL = "-DWAGE_WORK_SMALL=1"  # kernels for the smallest layers, too
BUILDS = {"plain": ("-DHOST_LEVEL=1", "-DWAGE_PLAIN=1")}
if X86:
    BUILDS |= {"sse2": ("-DHOST_LEVEL=1",), "avx2": ("-DHOST_LEVEL=2",)}


@pytest.mark.parametrize("name", BUILDS)
def test_kernels_give_every_known_answer_under_sanitizers(name: str) -> None:
    program = native.build("parity", (*native.SANITIZE, SMALL, *BUILDS[name]), kernels=True)
    cases, lines = known()
    assert differences(native.run(program, cases), lines) == 0


MISTAKES = {
    "bias of another output": ("dense.h", "+ bias[o + j]", "+ bias[j]"),
    "halves away from zero": ("common.h", "((size >> shift) & odd)", "odd"),
    "saturation from the largest sum that is not": (
        "common.h", "(size > limit ? WAGE_SATURATED", "(size >= limit ? WAGE_SATURATED",
    ),
    "signed saturation only above": (
        "common.h", "(wage_size(z[i]) > limit", "((uint32_t)(z[i] > 0 ? z[i] : 0) > limit",
    ),
    "last of equal sums wins": ("conv_forward.h", "c1[o] > c0[o] ? 1", "c1[o] >= c0[o] ? 1"),
    "old error behind an odd list": (
        "conv_error.h", "mine->factor[at] = 0;\n            mine->off[at] = 0;",
        "mine->off[at] = 0;",
    ),
    "gradient of the winner's neighbour": (
        "conv_gradient.h", "(right & -(code[o] & 1))", "(right & -(code[o] >> 1))",
    ),
    "old factor behind an odd list": (
        "conv_gradient.h", "factor[mine->count[o]] = 0;", "factor[mine->count[o]] = factor[0];",
    ),
    "positions without their pool": (
        "conv_gradient.h", "l->pool * (y * down + x * right)", "y * down + l->pool * x * right",
    ),
    "second row of a pair": ("micro_plain.h", "x[1] * from[16 + j]", "x[1] * from[j]"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_in_a_kernel_is_seen(name: str, tmp_path: Path) -> None:
    file, old, new = MISTAKES[name]
    for folder in native.FOLDERS:
        shutil.copytree(native.ROOT / folder, tmp_path / folder)
    path = tmp_path / "host/kernels" / file
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{file} has {text.count(old)} times: {old}"
    path.write_text(text.replace(old, new), encoding="utf-8")
    program = native.build("parity", ("-O1", SMALL, *BUILDS["plain"]), tmp_path, kernels=True)
    cases, lines = known()
    found = native.run(program, cases)
    assert differences(found, lines) > 0
