"""Makes tests/converted/*.tflite with TensorFlow, which nothing else needs; run by hand:

    python -m venv tf && tf/bin/pip install tensorflow-cpu==2.21.0
    PYTHONPATH=tests:host tf/bin/python -m converted.keras_fixtures

It reads what `python -m converted data` wrote to build/convert: TensorFlow's Python needs none of
wage_host's own dependencies.
"""

# SPDX-License-Identifier: MIT

from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow import keras

HERE, BUILD = Path(__file__).parent, Path(__file__).parents[2] / "build/convert"
L = keras.layers


def pictures() -> keras.Model:
    """Separable convolutions with a residual sum, ReLU6 and normalisation, for 28 x 28 x 1."""
    x = given = keras.Input((28, 28, 1))
    x = L.ReLU(6.0)(L.BatchNormalization()(L.Conv2D(16, 3, 2, "same", use_bias=False)(x)))
    y = L.ReLU(6.0)(L.BatchNormalization()(L.DepthwiseConv2D(3, 1, "same", use_bias=False)(x)))
    x = L.Add()([x, L.BatchNormalization()(L.Conv2D(16, 1, use_bias=False)(y))])
    x = L.ZeroPadding2D(((0, 1), (0, 1)))(x)
    x = L.ReLU(6.0)(L.BatchNormalization()(L.DepthwiseConv2D(3, 2, use_bias=False)(x)))
    x = L.MaxPool2D(2, padding="same")(L.Conv2D(32, 1, activation="relu")(x))
    x = L.Dense(32, activation="relu")(L.Flatten()(x))
    return keras.Model(given, L.Dense(10, activation="softmax")(x))


def sounds() -> keras.Model:
    """Convolutions over time, for 48 x 16."""
    x = given = keras.Input((48, 16))
    for channels in (24, 32, 48):
        x = L.Conv1D(channels, 5, padding="same", use_bias=False)(x)
        x = L.MaxPool1D(2)(L.ReLU()(L.BatchNormalization()(x)))
    return keras.Model(given, L.Dense(10)(L.GlobalAveragePooling1D()(x)))


def make(name: str, data: str, model: keras.Model, epochs: int, mean: float, std: float) -> None:
    """Trains a model and writes it in floats and in int8."""
    with np.load(BUILD / f"{data}.npz") as file:
        x, y = file["x"].reshape(-1, *model.input_shape[1:]), file["y"]
    x = ((x / 255 - mean) / std).astype(np.float32)
    steps = epochs * len(x) // 64
    rate = keras.optimizers.schedules.CosineDecay(0.004, steps)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=name == "sounds")
    model.compile(keras.optimizers.Adam(rate), loss, metrics=["accuracy"])
    model.fit(x, y, 64, epochs, verbose=2)
    for whole in (False, True):
        to = tf.lite.TFLiteConverter.from_keras_model(model)
        if whole:
            to.optimizations = [tf.lite.Optimize.DEFAULT]
            to.representative_dataset = lambda: ([x[k : k + 1]] for k in range(300))
            to.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            to.inference_input_type = to.inference_output_type = tf.int8
        data = to.convert()
        (HERE / f"{name}{'-int8' if whole else ''}.tflite").write_bytes(data)
        print(name, whole, len(data))


def answers() -> None:
    """What TensorFlow's interpreter gives for some inputs, in floats."""
    found = {}
    for path in sorted(HERE.glob("*.tflite")):
        data = "spoken" if "sounds" in path.name else "fashion-mnist"
        with np.load(BUILD / f"{data}.npz") as file:
            x = file["x"][:: len(file["x"]) // 48][:48]
        net = tf.lite.Interpreter(str(path))
        net.allocate_tensors()
        given, made = net.get_input_details()[0], net.get_output_details()[0]
        mean, std = (0.5, 0.25) if "sounds" in path.name else (0.0, 1.0)
        found[f"{path.stem.removesuffix('-int8')}.x"], out = x, []
        for one in ((x / 255 - mean) / std).astype(np.float32):
            step, zero = given["quantization"]
            one = one.reshape(given["shape"])
            if step:
                one = np.clip(np.rint(one / step) + zero, -128, 127).astype(np.int8)
            net.set_tensor(given["index"], one)
            net.invoke()
            y = net.get_tensor(made["index"])[0].astype(np.float32)
            step, zero = made["quantization"]
            out.append((y - zero) * step if step else y)
        found[f"{path.stem}.y"] = np.stack(out)
    np.savez_compressed(HERE / "answers.npz", **found)


if __name__ == "__main__":
    keras.utils.set_random_seed(1)
    make("pictures", "fashion-mnist", pictures(), 4, 0.0, 1.0)
    make("sounds", "spoken", sounds(), 15, 0.5, 0.25)
    answers()
