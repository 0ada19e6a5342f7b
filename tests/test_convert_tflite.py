"""Small TFLite files in the converter's less usual settings: tests/converted/odd, made by
odd_fixtures.py beside it.
"""

# SPDX-License-Identifier: MIT

from pathlib import Path

import numpy as np
import pytest
from wage_host.convert import floats, fold, model, read_tflite
from wage_host.data import Data
from wage_host.errors import ModelError

ODD = Path(__file__).parent / "converted/odd"


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("float", 1e-5), ("float16", 1e-5), ("moved", 1e-5), ("dynamic", 0.01),
        ("floats-around", 0.03), ("uint8-around", 0.03), ("int16", 0.01),
    ],
)  # fmt: skip
def test_tflite_means_what_tensorflow_makes_of_it(name: str, near: float) -> None:
    with np.load(ODD / "answers.npz") as file:
        x, wanted = file["x"], file[name]
    blocks = fold.blocks(read_tflite.read(ODD / f"{name}.tflite"))
    found = floats.logits(blocks, x[:, None])  # (n, 1, 12, 3), of either
    if name != "moved":
        found = np.exp(found - found.max(1, keepdims=True))
        found /= found.sum(1, keepdims=True)
    np.testing.assert_allclose(found, wanted, atol=near)
    assert (found.argmax(1) == wanted.argmax(1)).mean() > 0.9


def test_tflite_in_16_bit_floats_becomes_a_boards() -> None:
    with np.load(ODD / "answers.npz") as file:
        x, wanted = file["x"], file["float16"].argmax(1)
    whole = np.clip(np.rint(x * 32), -128, 127).astype(np.int8)
    path = ODD / "float16.tflite"
    given, data = model.Input(1 / 32), Data("odd", whole, wanted)
    made = model.imported(path, model.read(path, None, None), data, given, model.Wish())
    found = floats.logits(made.blocks, made.exact(whole)).argmax(1)
    assert (found == wanted).mean() > 0.9


def test_all_operators_of_a_tflite_file_that_cannot_be_are_named() -> None:
    with pytest.raises(ModelError) as refused:
        read_tflite.read(ODD / "refused.tflite")
    said = str(refused.value)
    for wanted in ("LEAKY_RELU '", "TANH '", "LOGISTIC '", "CONCATENATION '"):
        assert wanted in said, said
    assert said.count("train it with ReLU or ReLU6") == 1  # those of one reason together
    assert said.endswith("end with an output for each class, and with a softmax or nothing behind t"
                         "hem")  # fmt: skip
    assert "\n" not in said
