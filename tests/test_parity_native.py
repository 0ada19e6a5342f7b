"""The same sources by other compilers and with other options: the same bits."""

# SPDX-License-Identifier: MIT

import functools
import subprocess
import tempfile
from collections.abc import Iterator
from itertools import islice, product
from pathlib import Path

import blobs
import native
import nets
import numpy as np
import pytest
import random_models
import reference as ref
from wage_host import data
from wage_host.core import Core, Sample, info

FLAGS = {
    "O0": ("-O0",),
    "O2": ("-O2",),
    "O3": ("-O3",),
    "Os": ("-Os",),
    "unsigned-char": ("-O2", "-funsigned-char"),
    "native": ("-O3", "-march=native"),
    "all-gradients": ("-O3", "-DWAGE_SKIP_ZEROS=0"),
    "small-enums-lto": ("-O2", "-fshort-enums", "-flto"),
    "m32": ("-O2", "-m32"),
    "m32-O0": ("-O0", "-m32"),
    "sanitizers": native.SANITIZE,
}
CHUNK = 10
MODELS = range(100, 112)


@functools.cache
def can_run(compiler: str, flags: tuple[str, ...]) -> bool:
    """Whether this compiler makes programs that run here with these options."""
    with tempfile.TemporaryDirectory() as folder:
        program = f"{folder}/a"
        text = '#include <stdio.h>\nint main(void) { return puts("") < 0; }\n'
        command = [compiler, *flags, "-x", "c", "-", "-o", program]
        done = subprocess.run(command, input=text, text=True, capture_output=True, check=False)
        return done.returncode == 0 and subprocess.run([program], check=False).returncode == 0


def chunks(samples: Iterator[Sample]) -> Iterator[list[Sample]]:
    """The samples, CHUNK at a time."""
    samples = iter(samples)
    while chunk := list(islice(samples, CHUNK)):
        yield chunk


def run_of(blob: bytes, samples: Iterator[Sample]) -> tuple[list[bytes], list[str]]:
    """Cases for the harness, learning and training, and what the C in this process says of them."""
    core = Core(blob, level=0)
    core.start(1, core.config())
    cases, lines = [b"B" + blob], [nets.crcs(core)]
    for chunk in chunks(samples):
        assert len(list(core.learn(chunk))) == len(chunk)
        cases.append(native.case_of(b"L", chunk))
        lines.append(nets.crcs(core))
        some = chunk[: core.info.batch]
        core.train(np.stack([x for x, _ in some]), [label for _, label in some])
        cases.append(native.case_of(b"T", some))
        lines.append(nets.crcs(core))
    return cases, lines


@pytest.fixture(scope="module")
def learned(demo_blob: Path) -> tuple[list[bytes], list[str]]:
    """The cases of random models, of networks of all kinds and of the demo's model."""
    runs = [(blob := random_models.random_model(n), blobs.random_stream(blob, n, 60))
            for n in MODELS]  # fmt: skip
    for name, policy in product(nets.NETS, nets.POLICIES):
        for bits in (2, 5, 8):
            blob = nets.net(name, bits, policy, batch=3, momentum=2, replay_capacity=4)
            runs.append((blob, iter(nets.samples_of(blob, bits, 12))))
    blob = demo_blob.read_bytes()
    stream = data.samples(data.load(demo_blob.with_name("stream.npz")), info(blob))
    runs.append((blob, islice(stream, 60)))
    found = [run_of(*run) for run in runs]
    return [case for cases, _ in found for case in cases], [x for _, lines in found for x in lines]


@pytest.mark.parametrize("name", [*FLAGS, "clang"])
def test_every_compiler_gives_the_same_bits(
    name: str, learned: tuple[list[bytes], list[str]], tmp_path: Path
) -> None:
    compiler = native.clang() if name == "clang" else native.need("gcc")
    flags = FLAGS.get(name, ("-O2",))
    if not can_run(compiler, flags):
        pytest.skip(f"{compiler} {' '.join(flags)} makes no programs that run here")
    program = native.build("parity", flags, compiler=compiler)
    cases, lines = learned
    assert native.run(program, cases) == lines


# The largest numbers that a model may have, under sanitizers (SPEC 2.6)


def extreme(layers: list[blobs.Fields], shape: blobs.Shape, **header: int) -> bytes:
    """All weights at their ends, biases, too, of the same sign in one output."""
    at, paper = shape, header.get("flags", 0) & blobs.PAPER
    for layer in layers:
        layer |= {"flags": 1}
        if layer["kind"] not in blobs.WEIGHTLESS:
            count, out = blobs.fan_in(layer, at), layer["out"]
            signs = np.where(np.arange(out) % 2 == 0, 1, -1)
            layer["weights"] = np.repeat(signs * blobs.limit(layer), count)
            if not paper:
                layer |= {"flags": 3, "bias": (-signs * ((1 << 24) - 1)).tolist()}
        at = blobs.out_shape(layer, at)
    return blobs.make_blob(layers, shape, header={"lr_shift": 7, "lr_factor": 15} | header)


def extremes() -> Iterator[bytes]:
    """Models with as many products in a sum as there may be, and other ends."""
    point, signed = blobs.POINT, {"activation": blobs.SIGNED}
    whole = {"kernel": (2, 2), "pad": (0, 0, 0, 0)}
    for flags in (0, blobs.SSE, blobs.PAPER, blobs.PAPER | blobs.SSE):
        fan_in = 129024 if flags & blobs.SSE else 131072  # 4.4 needs room for the label
        both = {"flags": flags, "momentum": 7}
        yield extreme([blobs.dense(2)], (1, fan_in // 4, 4), **both)
        yield extreme([blobs.dense(2, alpha_shift=9)], (1, 1, 2), **both, batch=4096)
        wide = [blobs.conv2d(32768, **whole, **signed), blobs.dense(2, alpha_shift=3)]
        yield extreme([wide[0], blobs.conv2d(2, **point)], (2, 2, 3), **both)
        first = blobs.conv2d(3, **point, **signed)
        yield extreme([first, *wide], (2, 2, 3), **both)
        positions = [blobs.conv2d(2, **point, **signed), blobs.depthwise(2, **point, **signed)]
        factor = 127 if flags & blobs.SSE else 258
        for scale in (0, 20 if flags & blobs.SSE else 24):
            pool = blobs.average_pool(2, (255, 255), factor=factor, alpha_shift=scale)
            yield extreme([*positions, pool], (255, 255, 1), **both, batch=1 + (scale > 0))
        across = {"kernel": (1, 5), "stride": (1, 1), "pad": (0, 4, 0, 4), "factor": 65535}
        same = {"stride": (1, 1), "pad": (0, 2, 0, 2)}
        pools = [blobs.average_pool(2, (1, 5)) | across, blobs.max_pool(2, (1, 5), **same),
                 blobs.add(2, 1, alpha_shift=7), blobs.dense(2)]  # fmt: skip
        yield extreme([first | {"out": 2}, *pools], (1, 40, 1), **both, batch=8)


def test_largest_sums_are_exact_and_defined() -> None:
    program, cases, lines = native.build("parity", native.SANITIZE), [], []
    for blob in extremes():
        about = blobs.header_fields(blob)
        size = about["height"] * about["width"] * about["channels"]
        ends = [(np.full(size, x), label) for label, x in ((0, -128), (1, 127))]
        n = about["batch"] if about["batch"] > 8 else 2 * about["batch"]
        model, some = ref.open_model(blob), (ends * n)[: about["batch"]]
        cases.append(b"B" + blob)
        ref.start(model, 1)
        lines.append(nets.crcs(model))
        for samples in (some, some[::-1], some[:1]):
            ref.train(model, samples)
            cases.append(native.case_of(b"T", samples))
            lines.append(nets.crcs(model))
    assert native.run(program, cases) == lines
