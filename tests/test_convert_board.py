"""A converted model on emulated boards: its integers, what it learns there, and home again."""

# SPDX-License-Identifier: MIT

from pathlib import Path

import emulated
import numpy as np
import onnxruntime
import pytest
from onnx_models import CALM
from test_convert import HERE, NORM, answers, inputs, known
from wage_host import emulate, link, pack, unpack, verify
from wage_host.convert import export, model
from wage_host.core import Config, Core
from wage_host.device import Device

PATIENCE_S = 120.0
NEW = 10  # a class for which the file has no output
PREDICTED = 1000


@pytest.fixture(scope="module")
def imported() -> model.Imported:
    """Fashion pictures with room for one class more; the last layer learns."""
    path, given = HERE / "pictures.tflite", model.Input(None, *NORM["pictures"])
    wish = model.Wish(1, room=NEW + 1)
    return model.imported(path, model.read(path, None, None), known("pictures"), given, wish)


@pytest.fixture(scope="module")
def blob(imported: model.Imported) -> bytes:
    """As the command packs it, with a replay of all that there is."""
    xs, labels = inputs(imported, answers("pictures")[0]), known("pictures").labels
    config = Config(1, -3, 7, imported.gain_shift, 0)
    core = Core(pack.blob(imported.network, "pictures", config, 1, 0, []))
    stored = [(core.latent(x), int(label)) for x, label in zip(xs, labels, strict=True)]
    return pack.blob(imported.network, "pictures", config, 1, len(stored) + 20, stored)


def variants(imp: model.Imported, count: int, draws: np.random.Generator) -> np.ndarray:
    """Pictures (count, h, w, c): those of the fixture, noisy; each third is a negative."""
    x = answers("pictures")[0].astype(np.int16)
    x = x[draws.integers(0, len(x), count)]
    x[::3] = 255 - x[::3]
    return inputs(imp, np.clip(x + draws.integers(-20, 21, x.shape), 0, 255).astype(np.uint8))


@pytest.mark.parametrize("name", ["mps2-an386", "riscv-virt"])
def test_board_gives_the_integers_of_oracle_and_host_and_learns_a_class(
    name: str, imported: model.Imported, blob: bytes, tmp_path: Path
) -> None:
    file = tmp_path / "m.wage"
    file.write_bytes(blob)
    image, draws = emulated.image(name, file), np.random.default_rng(1)
    new = [(x, NEW) for x in variants(imported, 90, draws)[::3]]
    some = variants(imported, PREDICTED, draws)
    with (
        emulate.running(name, image) as url,
        Device(link.connector(url, 115200, None), answer_s=PATIENCE_S) as device,
    ):
        assert device.board == name
        assert verify.verify(blob, device, verify.golden(some[0].size, 3))
        device.start(1, device.config())
        assert {record.label for record in device.learn(new)} == {NEW}
        assert not verify.verify(blob, device, [some[0].ravel(), some[1].ravel()])
        learned = unpack.with_weights(blob, b"".join(device.pull()))
        theirs = [r.prediction for r in device.evaluate([(x, 0) for x in some[:200]])]
    mine = Core(learned).predict(some, [0] * len(some))["prediction"]
    assert mine[: len(theirs)].tolist() == theirs
    made = export.exported(learned, tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(made, CALM)
    given = np.ascontiguousarray((some / np.float32(128)).transpose(0, 3, 1, 2), np.float32)
    assert session.run(None, {"input": given})[0].argmax(1).tolist() == mine.tolist()
    before = Core(blob).predict(some, [0] * len(some))["prediction"]
    assert not (before == NEW).any() and (mine[::3] == NEW).mean() > 0.95
    assert (np.delete(mine, np.s_[::3]) == NEW).mean() < 0.05
