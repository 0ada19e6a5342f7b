"""Pre-processing and names in a blob: written, read, refused byte by byte as the oracle does."""

# SPDX-License-Identifier: MIT

import dataclasses
import random
import struct
import subprocess
from pathlib import Path

import native
import numpy as np
import pytest
import reference as ref
from blobs import average_pool, dense, make_blob, patch, seal, small_blob
from mutate import change
from wage_host import core, extras, network, pack
from wage_host._core import ffi, lib
from wage_host.core import ERROR_NAMES, Config
from wage_host.data import steps
from wage_host.errors import ModelError
from wage_host.extras import Extras, Step

FIRST = 64 + 48  # where extras of a blob with one layer lie
FULL = Extras(
    (*steps.parse("resize 4x3, grey, window 8/2, logmel 8000 256/128 8"),
     Step(lib.WAGE_NORMALISE, (-7, 300, 9, 8, 1, 0))),
    ("left", "right", "größer"),
)  # fmt: skip
CONFIG = Config(1, -5, 1, 2, 0)


def with_extras(blob: bytes, raw: bytes) -> bytes:
    """A blob of one layer with these bytes behind its records; its CRC is right."""
    head = blob[:31] + bytes([blob[31] | lib.WAGE_EXTRAS]) + blob[32:FIRST]
    (weights,) = struct.unpack_from("<I", head, 64 + 16)
    head = head[:80] + struct.pack("<I", weights + len(raw)) + head[84:]
    out = head + raw + blob[FIRST:]
    return seal(out[:8] + struct.pack("<I", len(out)) + out[12:])


def refused(blob: bytes) -> str:
    """How C calls it, the loader or whoever asks for steps."""
    data = ffi.from_buffer("uint8_t[]", blob)
    error = lib.wage_info(data, len(blob), ffi.new("struct wage_info *"))
    error = error or lib.wage_prepare_step(data, len(blob), 0, ffi.new("struct wage_prepare *"))
    return "OK" if error >= 0 else ERROR_NAMES[error].removeprefix("WAGE_E_")


def refused_by_oracle(blob: bytes) -> str:
    """How the oracle calls it."""
    try:
        ref.open_model(blob)
        ref.check_extras(blob)
    except ref.RefusedError as error:
        return str(error).removeprefix("WAGE_E_")
    return "OK"


def net(what: Extras = extras.NOTHING) -> network.Network:
    """A network of two layers with extras."""
    return dataclasses.replace(network.parse("2x2x1 4FC 3FC", 1), extras=what)


def packed(what: Extras) -> bytes:
    """Its blob."""
    return pack.blob(net(what), "extra", CONFIG, 1, 4, [(bytes(4), 1)])


@pytest.mark.parametrize(
    "what", [FULL, Extras(FULL.steps), Extras((), FULL.names), extras.NOTHING], ids=range(4)
)
def test_what_is_written_is_read(what: Extras, tmp_path: Path) -> None:
    blob = packed(what)
    assert refused_by_oracle(blob) == "OK"
    assert core.info(blob).extras == what
    network.save(net(what), tmp_path / "n.npz")
    assert network.load(tmp_path / "n.npz").extras == what


def test_blob_without_extras_is_what_it_was() -> None:
    """And with them only the flag, the length, offsets and the CRC are others."""
    bare, full = packed(extras.NOTHING), packed(FULL)
    size, first = len(extras.pack(FULL)), 64 + 2 * 48
    assert bare[31] == 0 and len(full) == len(bare) + size
    assert full[first : first + size] == extras.pack(FULL)
    assert full[first + size :] == bare[first:]
    same = [k for k in range(first) if bare[k] == full[k]]
    assert set(range(first)) - set(same) <= {8, 9, 12, 13, 14, 15, 31, 40, 41, *range(64, first)}


def test_models_learn_the_same_with_extras() -> None:
    x, crcs = np.arange(4, dtype=np.int8), []
    for what in (extras.NOTHING, FULL):
        one = core.Core(packed(what))
        one.start(1, CONFIG)
        list(one.learn([(x * 9, k % 3) for k in range(20)]))
        crcs.append(one.weight_crc())
    assert crcs[0] == crcs[1]


def test_c_gives_each_step() -> None:
    blob = ffi.new("uint8_t[]", packed(FULL))
    step, found = ffi.new("struct wage_prepare *"), []
    while lib.wage_prepare_step(blob, len(blob), len(found), step) == 1:
        raw = bytes(ffi.buffer(step.params, 4 * step.count))
        found.append(Step(step.kind, struct.unpack(f"<{step.count}i", raw)))
    assert tuple(found) == FULL.steps
    assert lib.wage_prepare_step(blob, len(blob), 70000, step) == 0
    for other in (packed(Extras((), FULL.names)), packed(extras.NOTHING), b"WAGE"):
        assert lib.wage_prepare_step(ffi.new("uint8_t[]", other), len(other), 0, step) == 0


def chunks(*parts: tuple[int, int, int, bytes], version: int = 1, zero: int = 0, size: int = -1):
    """Extras of parts: kind, zero, size (-1: the right one), contents."""
    body = b"".join(
        struct.pack("<BBH", kind, nothing, len(raw) if count < 0 else count) + raw
        for kind, nothing, count, raw in parts
    )
    return struct.pack("<HBB", 4 + len(body) if size < 0 else size, version, zero) + body


GREY, NAMES = b"\3\0\0\0", b"a\0b\0c\0"


@pytest.mark.parametrize(
    "raw, name",
    [
        (chunks(), "OK"),
        (chunks((1, 0, -1, b""), (2, 0, -1, NAMES)), "OK"),
        (chunks((1, 0, -1, GREY + GREY)), "OK"),
        (chunks((1, 0, -1, b"\4\0\1\0\2\0\0\0")), "OK"),
        (chunks((2, 0, -1, b"\0\0\0")), "OK"),
        (chunks(version=2), "RESERVED"),
        (chunks(zero=1), "RESERVED"),
        (chunks(size=3), "SHAPE"),
        (chunks(size=0), "SHAPE"),
        (chunks(size=60000), "RANGE"),
        (chunks((3, 0, -1, b"")), "RESERVED"),
        (chunks((0, 0, -1, b"")), "RESERVED"),
        (chunks((1, 1, -1, b"")), "RESERVED"),
        (chunks((1, 0, -1, b""), (1, 0, -1, b"")), "RESERVED"),
        (chunks((2, 0, -1, NAMES), (1, 0, -1, b"")), "RESERVED"),
        (chunks((1, 0, 5, GREY)), "SHAPE"),
        (chunks((1, 0, -1, b"\3\0\0")), "SHAPE"),
        (chunks((1, 0, -1, b"\3\0\1\0")), "SHAPE"),
        (chunks((1, 0, -1, b"\0\0\0\0")), "RESERVED"),
        (chunks((1, 0, -1, b"\x09\0\0\0")), "RESERVED"),
        (chunks((1, 0, -1, b"\3\1\0\0")), "RESERVED"),
        (chunks((1, 0, -1, GREY + b"\3")), "SHAPE"),
        (chunks((2, 0, -1, b"a\0b\0")), "SHAPE"),
        (chunks((2, 0, -1, b"a\0b\0c")), "SHAPE"),
        (chunks((2, 0, -1, NAMES + b"d\0")), "SHAPE"),
        (chunks((2, 0, -1, b"")), "SHAPE"),
        (chunks() [:4] + b"", "OK"),
        (chunks((1, 0, -1, GREY), size=10), "SHAPE"),
        (chunks((1, 0, -1, GREY), size=7), "SHAPE"),
    ],
)  # fmt: skip
def test_extras_that_cannot_be_walked_through_are_refused(raw: bytes, name: str) -> None:
    blob = with_extras(small_blob(), raw)
    assert refused(blob) == refused_by_oracle(blob) == name


def test_extras_beyond_the_end() -> None:
    head = make_blob([dense(3, flags=1)], (1, 1, 4))[:FIRST]
    head = head[:31] + b"\4" + head[32:]
    bare = make_blob([average_pool(3, (2, 2), flags=1)], (2, 2, 3))  # nothing behind its record
    assert len(bare) == FIRST
    for raw in (b"", b"\4", b"\4\0\1", b"\5\0\1\0"):
        blob = bare[:31] + b"\4" + bare[32:] + raw
        blob = seal(blob[:8] + struct.pack("<I", len(blob)) + blob[12:])
        assert refused(blob) == refused_by_oracle(blob) == "RANGE"
    for raw, name in ((b"", "RANGE"), (b"\4\0\1", "RANGE"), (b"\5\0\1\0", "RANGE")):
        blob = head + raw  # its weights are beyond the end, too: that is said first
        blob = seal(blob[:8] + struct.pack("<I", len(blob)) + blob[12:])
        assert refused(blob) == refused_by_oracle(blob) == name
    at = struct.pack("<I", FIRST)  # weights in the extras' own bytes: sections may overlap
    blob = seal(patch(small_blob(), 80, at)[:31] + b"\4" + patch(small_blob(), 80, at)[32:])
    assert refused(blob) == refused_by_oracle(blob)


def test_every_change_is_judged_as_the_oracle_does(seed: int) -> None:
    rng, good, names = random.Random(seed), extras.pack(FULL), set()
    for _ in range(3000):
        raw = change(rng, good, [good, chunks((2, 0, -1, NAMES))], near=12)
        blob = with_extras(small_blob(), raw)
        assert refused(blob) == refused_by_oracle(blob), raw.hex()
        names.add(refused(blob))
    assert {"OK", "RANGE", "RESERVED", "SHAPE"} <= names


def test_every_byte_flipped_is_refused_or_read_safely() -> None:
    """The CRC made right: what the loader takes can be shown and walked through, too."""
    good = with_extras(small_blob(), extras.pack(Extras(FULL.steps, ("a", "b", "c"))))
    step = ffi.new("struct wage_prepare *")
    for at in range(FIRST, len(good)):
        for value in (0, 1, 0x7F, 0xFF, good[at] ^ 0x80):
            blob = patch(good, at, bytes([value]))
            try:
                found = core.info(blob).extras
            except ModelError:
                continue
            assert all(map(steps.say, found.steps)) and len(found.names) in (0, 3)
            data = ffi.new("uint8_t[]", blob)
            count = sum(lib.wage_prepare_step(data, len(blob), k, step) for k in range(99))
            assert count == len(found.steps)


def test_names_that_cannot_be_kept_are_refused() -> None:
    with pytest.raises(ModelError, match="zero byte"):
        packed(Extras((), ("a\0", "b", "c")))
    with pytest.raises(ModelError, match="too long"):
        packed(Extras((), ("a" * 40_000, "b", "c")))


def test_sanitized_loader_takes_any_extras(seed: int) -> None:
    rng, good = random.Random(seed), extras.pack(FULL)
    some = [with_extras(small_blob(), change(rng, good, [good], near=16)) for _ in range(400)]
    answers = native.run(native.build("blobs", native.SANITIZE), some)
    assert len(answers) == len(some)


def test_a_program_that_prepares_nothing_has_nothing_of_it(tmp_path: Path) -> None:
    """As boards are linked: sections that nobody calls are left out."""
    gcc = native.need("arm-none-eabi-gcc")
    (tmp_path / "main.c").write_text(
        '#include "wage.h"\nint main(void) { wage_t w; return wage_open(&w, 0, 0, 0, 0); }\n'
    )
    files = [*map(str, sorted((native.ROOT / "runtime").glob("*.c"))), str(tmp_path / "main.c")]
    flags = ["-Os", "-mcpu=cortex-m0", "-mthumb", "-ffunction-sections", "-fdata-sections",
             "-Wl,--gc-sections", "--specs=nosys.specs", "-w"]  # fmt: skip
    image = tmp_path / "image"
    subprocess.run([gcc, *flags, f"-I{native.ROOT / 'runtime'}", *files, "-o", image], check=True)
    names = subprocess.check_output(["arm-none-eabi-nm", image], text=True)
    assert "wage_open" in names
    for name in ("logmel", "normalise", "wage_prepare_step", "wage_sine", "wage_log2"):
        assert name not in names
