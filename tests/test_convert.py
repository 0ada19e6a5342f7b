"""Models of others become a board's: within bounds known beforehand, with the same bits everywhere,
and back again whole. The models are tests/converted/*.tflite, made by keras_fixtures.py there.
"""

# SPDX-License-Identifier: MIT

import dataclasses
import functools
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import native
import nets
import numpy as np
import onnx
import onnxruntime
import pytest
import reference as ref
from onnx_models import CALM, Maker, save
from safetensors.numpy import save_file
from test_cli import refused, run
from wage_host import pack, unpack
from wage_host.convert import (
    export,
    floats,
    fold,
    graph,
    integers,
    model,
    quantise,
    read_arrays,
    report,
)
from wage_host.convert.seen import Seen
from wage_host.convert.steps import Scale
from wage_host.core import Config, Core, info
from wage_host.data import Data, activations
from wage_host.errors import ModelError, WrongUsage

HERE = Path(__file__).parent / "converted"
NORM = {"pictures": ((0.0,), (1.0,)), "sounds": ((0.5,), (0.25,))}
NAMES = ["pictures", "pictures-int8", "sounds", "sounds-int8"]
LEAST_DB = 25.0


def answers(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Inputs (n, …) uint8, and what TensorFlow's interpreter gives for them (n, classes)."""
    with np.load(HERE / "answers.npz") as file:
        return file[f"{name.removesuffix('-int8')}.x"], file[f"{name}.y"]


def known(name: str) -> Data:
    """The inputs, with what TensorFlow says as labels."""
    x, y = answers(name)
    return Data(name, x, y.argmax(1))


@functools.cache
def converted(name: str, train: int = 1) -> model.Imported:
    """The model of a fixture."""
    path = HERE / f"{name}.tflite"
    given = model.Input(None, *NORM[name.removesuffix("-int8")])
    wish = model.Wish(train)
    return model.imported(path, model.read(path, None, None), known(name), given, wish)


def blob_of(imp: model.Imported, **more: object) -> bytes:
    """A blob with usual settings."""
    config = Config(1, -5, 2, imp.gain_shift, 0)
    return pack.blob(imp.network, "test", config, imp.train_last, 0, [], **more)


def inputs(imp: model.Imported, x: np.ndarray) -> np.ndarray:
    """Activations (n, h, w, c)."""
    return activations(x, imp.network.input_map).reshape(len(x), *imp.network.shape)


@pytest.mark.parametrize("name", NAMES)
def test_tflite_means_what_tensorflow_makes_of_it(name: str) -> None:
    imp, (x, y) = converted(name), answers(name)
    found = floats.logits(imp.blocks, imp.exact(x))
    if name.startswith("pictures"):  # there is a softmax at the end
        found = np.exp(found - found.max(1, keepdims=True))
        found /= found.sum(1, keepdims=True)
    found = np.clip(found, y.min(), y.max())  # int8 files end there
    close = {"atol": 1e-4} if "int8" not in name else {"atol": 0.08 if "pict" in name else 0.8}
    np.testing.assert_allclose(found, y, rtol=1e-3, **close)
    assert (found.argmax(1) == y.argmax(1)).mean() > 0.97


def over_bound(imp: model.Imported, a: np.ndarray) -> Iterator[tuple[int, float]]:
    """By how much each layer leaves its bound, as a share of the most that it gives in floats.

    a: inputs (n, h, w, c) int8. The float layer takes what the integers below give.
    """
    made, found = imp.made, {-1: a.astype(np.float64)}
    for k, whole in enumerate(integers.run(made.blocks, made.layers, a)):
        block, scale = made.blocks[k], made.scales[k]
        exact = floats.before(block, found[k - 1], found.get(block.sources[-1]))
        if k + 1 < len(made.layers):
            low, high = (scale.offset + q * scale.step for q in (-127, 127))
            exact = np.clip(exact, np.maximum(block.low, low), np.minimum(block.high, high))
        found[k] = whole * scale.step + scale.offset
        over = np.abs(found[k] - exact) - report.bound(imp, k)
        yield k, float(over.max() / max(np.abs(exact).max(), 1e-9))


@pytest.mark.parametrize(("name", "train"), list(zip(NAMES, (1, 3, 3, 1), strict=True)))
def test_every_layer_is_within_its_bound(name: str, train: int) -> None:
    imp = converted(name, train)
    for k, over in over_bound(imp, inputs(imp, answers(name)[0])):
        assert over <= 1e-5, (k, imp.made.blocks[k].name, over)


@pytest.mark.parametrize("name", NAMES)
def test_every_layer_keeps_25_db_of_the_float_model(name: str) -> None:
    lost = report.losses(converted(name), known(name))
    assert min(one.sqnr_db for one in lost) >= LEAST_DB, [round(one.sqnr_db, 1) for one in lost]
    assert lost[-1].accuracy >= 0.97


def oracle(blob: bytes, x: np.ndarray) -> list[np.ndarray]:
    """What each layer of the oracle gives for one input (h, w, c)."""
    layers, kept = ref.open_model(blob).layers, [x.astype(np.int64)]
    for layer in layers:
        side = kept[len(kept) - 1 - layer.skip] if layer.skip else None
        z, _ = ref.forward(layer, kept[-1], side)
        kept.append(ref.activate(layer, z) if layer is not layers[-1] else z)
    return kept[1:]


@pytest.mark.parametrize("name", NAMES)
def test_oracle_and_host_give_the_same_integers_layer_by_layer(name: str) -> None:
    imp = converted(name)
    a, blob = inputs(imp, answers(name)[0])[:3], blob_of(imp)
    mine = list(integers.run(imp.made.blocks, imp.made.layers, a))
    for n in range(len(a)):
        for k, (one, other) in enumerate(zip(mine, oracle(blob, a[n]), strict=True)):
            np.testing.assert_array_equal(one[n].ravel(), other.ravel(), f"layer {k}")
    records = Core(blob).predict(a, [0] * len(a))
    told = [ref.predict(ref.open_model(blob), x.ravel(), 0) for x in a]
    assert records["prediction"].tolist() == [r.prediction for r in told]
    assert records["p_label"].tolist() == [r.p_label for r in told]
    assert (mine[-1].reshape(len(a), -1).argmax(1) == records["prediction"]).all()


@pytest.mark.parametrize("cpu", ["cortex-m4", "riscv32"])
def test_emulated_cpus_learn_the_same_weights(cpu: str, tmp_path: Path) -> None:
    cases, lines = [], []
    for name in ("pictures", "sounds"):
        imp = converted(name, 3)
        blob, x = blob_of(imp), inputs(imp, answers(name)[0])[:2]
        samples = [(one.ravel(), k) for k, one in enumerate(x)]
        core = Core(blob)
        core.start(1, core.config())
        lines.append(nets.crcs(core))
        cases += [b"B" + blob, native.case_of(b"L", samples[:1]), native.case_of(b"L", samples[1:])]
        for sample in samples:
            assert len(list(core.learn([sample]))) == 1
            lines.append(nets.crcs(core))
    assert native.emulate("parity", cpu, cases, tmp_path) == lines


def test_converted_model_learns(tmp_path: Path) -> None:
    imp = converted("sounds", 2)
    core, (x, y) = Core(blob_of(imp)), answers("sounds")
    labels, a = (y.argmax(1) + 1) % 10, inputs(imp, x)  # what was 0 is 1 from now on
    core.start(1, core.config())
    for _ in range(15):
        list(core.learn(list(zip(a, labels.tolist(), strict=True))))
    assert (core.predict(a, labels)["prediction"] == labels).mean() > 0.8


# -- mistakes, planted -----------------------------------------------------


def test_wrong_weights_break_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    imp = converted("sounds")
    layer = imp.made.layers[0]
    wrong = layer.weights.copy()
    wrong[0] = -wrong[0]
    layers = (dataclasses.replace(layer, weights=wrong), *imp.made.layers[1:])
    a = inputs(imp, answers("sounds")[0])
    block, scale = imp.made.blocks[0], imp.made.scales[0]
    whole = next(integers.run(imp.made.blocks, layers, a)) * scale.step + scale.offset
    exact = np.clip(floats.before(block, a.astype(np.float64)), 0, 127 * scale.step)
    assert (np.abs(whole - exact) - report.bound(imp, 0)).max() > 1


def coarse(block: fold.Block, seen: Seen, by_channel: bool, moves: bool) -> Scale:
    """Ten times the steps that are wanted."""
    step = np.full(seen.values.shape[1], seen.ends()[1].max() / 12)
    return Scale(step, 0 * step)


@pytest.mark.parametrize(
    ("where", "what", "wrong"),
    [
        (quantise._Pass, "_drift", lambda self, k, layer, unit: 0 * unit + 500),
        (quantise.rounding, "fitted", lambda b, e, w, given, u: np.floor(given / 4) * 4),
        (quantise.steps, "best", coarse),
        (quantise.steps, "movable", lambda blocks, trainable: [True] * len(blocks)),
        (quantise._Pass, "_offset", lambda self, k, step: self.plan.wanted[k].offset + 5 * step),
    ],
)
def test_quantising_badly_costs_decibels(
    where: object, what: str, wrong: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(where, what, wrong)
    path, given = HERE / "sounds.tflite", model.Input(None, *NORM["sounds"])
    imp = model.imported(path, model.read(path, None, None), known("sounds"), given, model.Wish())
    assert min(one.sqnr_db for one in report.losses(imp, known("sounds"))) < LEAST_DB


# -- there and back --------------------------------------------------------


@pytest.mark.parametrize("format", [".npz", ".safetensors", ".onnx"])
@pytest.mark.parametrize("name", NAMES[::2])
def test_export_comes_back_with_every_integer(name: str, format: str, tmp_path: Path) -> None:
    imp = converted(name, 2)
    blob = blob_of(imp)
    path, back = tmp_path / f"m{format}", tmp_path / "test.wage"
    path.write_bytes(export.exported(blob, path))
    done = run("convert", path, "-o", back, "--replays", 2, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert back.read_bytes() == blob


def test_learned_weights_come_back_too(tmp_path: Path) -> None:
    imp = converted("sounds", 2)
    core = Core(blob_of(imp))
    core.start(1, Config(1, -3, 0, 2, 0))
    x, y = answers("sounds")
    list(core.learn(list(zip(inputs(imp, x), (y.argmax(1) + 1).tolist(), strict=True))[:20]))
    order = [w.astype("<i2").tobytes() + b.astype("<i4").tobytes()
             for w, b in zip(core.weights(), core.biases(), strict=True) if w.size]  # fmt: skip
    blob = unpack.with_weights(blob_of(imp), b"".join(order))
    assert Core(blob).weight_crc() == core.weight_crc()
    for format in (".npz", ".safetensors", ".onnx"):
        path, back = tmp_path / f"m{format}", tmp_path / "test.wage"
        path.write_bytes(export.exported(blob, path))
        run("convert", path, "-o", back, "--replays", 2, cwd=tmp_path)
        assert back.read_bytes() == blob


@pytest.mark.parametrize("name", NAMES[::2])
def test_exported_onnx_predicts_as_the_board(name: str, tmp_path: Path) -> None:
    imp = converted(name)
    blob, path = blob_of(imp), tmp_path / "m.onnx"
    path.write_bytes(export.exported(blob, path))
    a = inputs(imp, answers(name)[0])
    session = onnxruntime.InferenceSession(path.read_bytes(), CALM)
    given = np.ascontiguousarray((a / np.float32(128)).transpose(0, 3, 1, 2), np.float32)
    theirs = session.run(None, {"input": given})[0].argmax(1)
    assert (theirs == Core(blob).predict(a, [0] * len(a))["prediction"]).mean() > 0.97


def test_header_is_the_blob_in_c(tmp_path: Path) -> None:
    blob, path = blob_of(converted("sounds")), tmp_path / "2 sounds.h"
    text = export.exported(blob, path).decode()
    program = tmp_path / "main.c"
    path.write_text(text)
    program.write_text(
        f'#include "{path.name}"\n#include <stdio.h>\n'
        "int main(void) { fwrite(model_2_sounds, 1, sizeof model_2_sounds, stdout); return 0; }\n"
    )
    out = tmp_path / "program"
    subprocess.run([native.need("gcc"), "-Wall", "-Werror", "-o", out, program], check=True)
    assert subprocess.run([out], capture_output=True, check=True).stdout == blob
    with pytest.raises(WrongUsage, match=r"\.onnx"):
        export.exported(blob, tmp_path / "m.txt")


def test_export_that_was_changed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    path.write_bytes(export.exported(blob_of(converted("sounds")), path))
    with np.load(path) as file:
        parts = {name: file[name] for name in file}
    about = json.loads(str(parts["about"]))
    wrong = [
        {"about": json.dumps(about | {"wage_export": 1})},
        {"about": json.dumps(about | {"layers": 3})},
        {"about": json.dumps(about | {"layers": [about["layers"][0] | {"kind": 9}]})},
        {"about": json.dumps(about | {"layers": [about["layers"][0] | {"kernel": [300, 1]}]})},
        {"0.weight": parts["0.weight"][:-1]},
        {"0.weight": parts["0.weight"] * 0 + 32767},
        {"0.bias": parts["0.bias"].astype(np.float32)},
    ]
    for change in wrong:
        np.savez(path, **(parts | change))
        with pytest.raises(ModelError):
            net, known = export.rebuilt(path, read_arrays.metadata(path), read_arrays.load(path))
            info(pack.blob(net, "test", known.config, known.train_last, 0, []))
    code, text = refused("convert", path, "-o", tmp_path / "m.wage", cwd=tmp_path)
    assert code == 15 and "is damaged" in text


def test_described_arrays_are_the_onnx_model(tmp_path: Path) -> None:
    make = Maker((2, 9, 8))
    make.conv(5, 2, 3, 3, pads=[1, 1, 1, 1], bias=False)
    make.norm(5)
    make.node("Relu")
    make.node("MaxPool", kernel_shape=[2, 2], strides=[2, 2], pads=[0, 0, 1, 0])
    make.conv(5, 1, 3, 3, group=5, pads=[1, 1, 1, 1])
    make.node("Relu")
    make.node("Flatten")
    make.dense(4, 5 * 5 * 4)
    whole = make.model()
    arrays = {a.name: onnx.numpy_helper.to_array(a) for a in whole.graph.initializer}
    names = ["a.weight", "n.running_var", "n.weight", "n.bias", "n.running_mean", "b.weight",
             "b.bias", "c.weight", "c.bias"]  # fmt: skip
    order = sorted(arrays, key=lambda n: int(n[1:]))
    assert len(order) == len(names)
    state = dict(zip(names, (arrays[n] for n in order), strict=True))
    theirs = model.read(save(whole, tmp_path), None, None)
    text, tensors = "9x8x2 5C3-MP2 DW3 4FC", "a+n,b,c"
    x = np.random.default_rng(1).normal(0, 1, (4, 9, 8, 2)).astype(np.float32)
    wanted = floats.logits(fold.blocks(theirs), x)
    for path in (tmp_path / "m.npz", tmp_path / "m.safetensors"):
        np.savez(path, **state) if path.suffix == ".npz" else save_file(state, path)
        found = floats.logits(fold.blocks(model.read(path, text, tensors)), x)
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
        with pytest.raises(WrongUsage, match=r"a\.weight"):
            model.read(path, None, None)
        with pytest.raises(WrongUsage, match="2 names for 3 layers"):
            model.read(path, text, "a,b")
        with pytest.raises(ModelError, match=r"no array d\.weight"):
            model.read(path, text, "a+n,b,d")
        with pytest.raises(ModelError, match="4x100"):
            model.read(path, text.replace("4FC", "5FC"), tensors)


@pytest.mark.soak
def test_a_million_weights_take_less_than_thirty_seconds(tmp_path: Path) -> None:
    make = Maker((1, 28, 28))
    make.node("Flatten")
    for inside, out in ((784, 800), (800, 460)):
        make.dense(out, inside)
        make.node("Relu")
    make.dense(10, 460)
    path = save(make.model(), tmp_path)
    x = np.random.default_rng(1).integers(0, 256, (512, 28, 28), np.uint8)
    given = Data("noise", x, np.zeros(512, np.int64))
    started = time.process_time()
    imp = model.imported(path, model.read(path, None, None), given, model.Input(), model.Wish())
    assert sum(layer.weights.size for layer in imp.network.layers) > 999_000
    blob_of(imp)
    assert time.process_time() - started < 60  # of one core


def with_a_head(make: Maker, folder: Path) -> tuple[model.Imported, Data]:
    """A net of 6 x 6 x 4 with three classes on top, imported, and the noise it was given."""
    make.node("GlobalAveragePool")
    make.node("Flatten")
    make.dense(3, 4)
    path = save(make.model(), folder)
    x = np.random.default_rng(1).integers(0, 256, (64, 6, 6, 4), np.uint8)
    given = Data("noise", x, np.zeros(64, np.int64))
    graph = model.read(path, None, None)
    return model.imported(path, graph, given, model.Input(), model.Wish()), given


def test_steps_that_no_weights_fit_are_found(tmp_path: Path) -> None:
    """Weights above 1, behind each other around a sum: steps would grow without end."""
    make = Maker((4, 6, 6))
    start = make.conv(4, 4, 1, 1)
    make.node("Relu")
    start = make.x
    make.node("Conv", make.array(4.0 * np.eye(4).reshape(4, 4, 1, 1)))
    make.node("Relu")
    make.node("Conv", make.array(np.eye(4).reshape(4, 4, 1, 1) * 0.5 - 0.25))
    make.node("Add", start)
    imp, given = with_a_head(make, tmp_path)
    assert min(one.sqnr_db for one in report.losses(imp, given)) > 20
    assert Core(blob_of(imp)).info.classes == 3
    assert graph.INPUT == -1


def test_sum_that_grows_is_shifted(tmp_path: Path) -> None:
    """Both parts alike: the sum is twice as large, its step is too."""
    make = Maker((4, 6, 6))
    make.conv(4, 4, 3, 3, pads=[1, 1, 1, 1])
    start = make.node("Relu")
    make.node("Conv", make.array(np.eye(4).reshape(4, 4, 1, 1)))
    make.node("Add", start)
    imp, given = with_a_head(make, tmp_path)
    (shift,) = (one.alpha_shift for one in imp.network.layers if one.skip)
    assert shift == 1
    assert min(one.sqnr_db for one in report.losses(imp, given)) >= LEAST_DB
