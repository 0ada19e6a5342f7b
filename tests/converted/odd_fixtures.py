"""Makes tests/converted/odd/: what TensorFlow's converter writes in its less usual settings.

Small, with weights that have learned nothing; run by hand:

    python -m venv tf && tf/bin/pip install tensorflow-cpu==2.21.0
    PYTHONPATH=tests tf/bin/python -m converted.odd_fixtures
"""

# SPDX-License-Identifier: MIT

from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow import keras

HERE = Path(__file__).parent / "odd"
L = keras.layers
DRAWS = np.random.default_rng(1)
X = DRAWS.normal(0, 1, (48, 12, 3)).astype(np.float32)


def causal() -> keras.Model:
    """12 steps of 3 values: padded in front only, the largest of all places, softmax."""
    x = given = keras.Input((12, 3))
    x = L.Conv1D(8, 3, padding="causal", activation="relu")(x)
    x = L.GlobalMaxPooling1D()(L.Conv1D(8, 2, activation="relu")(x))
    return keras.Model(given, L.Dense(4, activation="softmax")(x))


def moved() -> keras.Model:
    """The channels come first, as in models that were PyTorch's."""
    x = given = keras.Input((3, 12))
    x = L.Conv1D(8, 3, activation="relu")(L.Permute((2, 1))(x))
    return keras.Model(given, L.Dense(4)(L.GlobalAveragePooling1D()(x)))


def refused() -> keras.Model:
    """More than one thing that no board runs, one behind the other."""
    x = given = keras.Input((8, 8, 1))
    x = L.LeakyReLU()(L.Conv2D(4, 3)(x))
    y = L.Conv2D(4, 3, padding="same", activation="tanh")(x)
    x = L.Concatenate()([x, y])
    x = L.Conv2D(4, 2, activation="sigmoid")(x)
    return keras.Model(given, L.Dense(1, activation="sigmoid")(L.Flatten()(x)))


def whole(kind: tf.DType | None, *, wide: bool = False) -> Callable:
    """Quantised, with inputs and outputs of a type, or floats; wide: 16-bit activations."""

    def set_up(to: tf.lite.TFLiteConverter) -> None:
        ops = tf.lite.OpsSet
        to.optimizations = [tf.lite.Optimize.DEFAULT]
        to.representative_dataset = lambda: ([x[None]] for x in X)
        to.target_spec.supported_ops = [
            ops.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
            if wide
            else ops.TFLITE_BUILTINS_INT8
        ]
        if kind:
            to.inference_input_type = to.inference_output_type = kind

    return set_up


def halves(to: tf.lite.TFLiteConverter) -> None:
    """Weights in 16-bit floats."""
    to.optimizations = [tf.lite.Optimize.DEFAULT]
    to.target_spec.supported_types = [tf.float16]


def dynamic(to: tf.lite.TFLiteConverter) -> None:
    """Weights in int8, the rest in floats."""
    to.optimizations = [tf.lite.Optimize.DEFAULT]


def answers(path: Path, x: np.ndarray) -> np.ndarray:
    """What TensorFlow's interpreter gives, in floats."""
    net = tf.lite.Interpreter(str(path))
    net.allocate_tensors()
    given, made, out = net.get_input_details()[0], net.get_output_details()[0], []
    for one in x:
        step, zero = given["quantization"]
        if step:
            kind = np.iinfo(given["dtype"])
            one = np.clip(np.rint(one / step) + zero, kind.min, kind.max)
        net.set_tensor(given["index"], one[None].astype(given["dtype"]))
        net.invoke()
        y, (step, zero) = net.get_tensor(made["index"])[0], made["quantization"]
        out.append((y.astype(np.float32) - zero) * step if step else y)
    return np.stack(out)


def main() -> None:
    """All files."""
    keras.utils.set_random_seed(1)
    HERE.mkdir(exist_ok=True)
    net, found = causal(), {"x": X}
    ways = {
        "float": lambda to: None, "float16": halves, "dynamic": dynamic,
        "floats-around": whole(None), "uint8-around": whole(tf.uint8),
        "int16": whole(None, wide=True), "moved": lambda to: None, "refused": lambda to: None,
    }  # fmt: skip
    others = {"moved": moved(), "refused": refused()}
    for name, set_up in ways.items():
        to = tf.lite.TFLiteConverter.from_keras_model(others.get(name, net))
        set_up(to)
        path = HERE / f"{name}.tflite"
        path.write_bytes(to.convert())
        if name != "refused":
            found[name] = answers(path, X.transpose(0, 2, 1) if name == "moved" else X)
        print(name, path.stat().st_size)
    np.savez_compressed(HERE / "answers.npz", **found)


if __name__ == "__main__":
    main()
