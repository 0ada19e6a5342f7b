"""The oracle's reading of blobs: what is right and how wrong ones are refused (SPEC 9, 2.6)."""

# SPDX-License-Identifier: MIT

import random

import blobs
import numpy as np
import pytest
import random_models
import reference as ref
from blobs import (
    POINT,
    add,
    average_pool,
    conv2d,
    dense,
    depthwise,
    make_blob,
    max_pool,
    patch,
)

NET = [conv2d(4, pool=2, bits=2), conv2d(4, flags=1), dense(3, flags=1, bits=2)]
SHAPE = (5, 6, 2)


def net(index: int = 0, **fields: object) -> bytes:
    """The blob of NET with some fields of one layer set."""
    return make_blob([x | fields if i == index else x for i, x in enumerate(NET)], SHAPE)


def refusal(blob: bytes) -> str:
    """What the oracle calls this blob: the name of its error, or OK."""
    try:
        ref.open_model(blob)
    except ref.RefusedError as error:
        return error.name.removeprefix("WAGE_E_")
    return "OK"


def test_blob_is_read_as_written() -> None:
    rng = random.Random(4)
    layers = [layer | {} for layer in NET]
    at = SHAPE
    for layer in layers:
        layer |= {"alpha_shift": 1, "weights": blobs.random_weights(layer, at, rng)}
        at = blobs.out_shape(layer, at)
    latents = np.arange(2 * 3 * 3 * 4) % 128
    header = {"replay_capacity": 3, "input_map": 1, "lr_shift": -24, "name": b"n" * 15}
    blob = make_blob(layers, SHAPE, factory=([2, 0], latents), header=header)
    model = ref.open_model(blob)
    assert model.blob_crc == ref.crc32(blob[16:]) and model.name == "n" * 15
    assert (model.classes, model.input_map, model.config.lr_shift) == (3, 1, -24)
    assert [layer.out_shape for layer in model.layers] == [(3, 3, 4), (3, 3, 4), (1, 1, 3)]
    for layer, wrote in zip(model.layers, layers, strict=True):
        assert layer.w.reshape(-1).tolist() == wrote["weights"]
    assert [label for label, _ in model.replay] == [2, 0] and model.class_total == [1, 0, 1]
    assert np.stack([latent for _, latent in model.replay]).reshape(-1).tolist() == latents.tolist()


@pytest.mark.parametrize(
    ("field", "value", "name"),
    [
        ("magic", b"WAGF", "MAGIC"),
        ("format", 0, "VERSION"),
        ("format", 2, "VERSION"),
        ("header_bytes", 68, "VERSION"),
        ("blob_bytes", 10**6, "SHORT"),
        ("blob_bytes", 64, "LENGTH"),
        ("crc", 0, "CRC"),
        ("layers", 0, "LAYERS"),
        ("layers", 33, "LAYERS"),
        ("record_bytes", 47, "VERSION"),
        ("layers", 32, "RANGE"),
        ("classes", 0, "SHAPE"),
        ("classes", 1, "SHAPE"),
        ("classes", 4, "SHAPE"),
        ("classes", 256, "SHAPE"),
        ("height", 0, "SHAPE"),
        ("channels", 0, "SHAPE"),
        ("input_map", 2, "RESERVED"),
        ("gain_shift", 8, "CONFIG"),
        ("lr_shift", 8, "CONFIG"),
        ("lr_shift", -25, "CONFIG"),
        ("threshold", 128, "CONFIG"),
        ("flags", 1, "OK"),
        ("flags", 3, "OK"),
        ("flags", 64, "RESERVED"),
        ("flags", 128, "RESERVED"),
        ("batch", 0, "CONFIG"),
        ("batch", 4096, "OK"),
        ("batch", 4097, "CONFIG"),
        ("momentum", 7, "OK"),
        ("momentum", 8, "CONFIG"),
        ("lr_factor", 0, "CONFIG"),
        ("lr_factor", 15, "OK"),
        ("lr_factor", 16, "CONFIG"),
        ("name", b"n" * 16, "RESERVED"),
        ("factory_samples", 1, "REPLAY"),
        ("factory_offset", 300, "REPLAY"),
    ],
)
def test_header_field_refused(field: str, value: object, name: str) -> None:
    assert refusal(make_blob(NET, SHAPE, header={field: value})) == name


@pytest.mark.parametrize(
    ("index", "fields", "name"),
    [
        (0, {}, "OK"),
        (0, {"kind": 0}, "KIND"),
        (0, {"kind": 7}, "KIND"),
        (0, {"bits": 1}, "BITS"),
        (0, {"bits": 9}, "BITS"),
        (0, {"bits": 0}, "BITS"),
        (0, {"bits": 4, "weights": [0] * 72}, "OK"),
        (0, {"store_bits": 2}, "BITS"),
        (1, {"store_bits": 7}, "BITS"),
        (1, {"store_bits": 17}, "BITS"),
        (1, {"store_bits": 0}, "BITS"),
        (1, {"store_bits": 8}, "OK"),
        (0, {"flags": 4}, "RESERVED"),
        (0, {"flags": 2}, "OK"),
        (1, {"flags": 3}, "OK"),
        (0, {"skip": 1}, "RESERVED"),
        (0, {"factor": 1}, "RESERVED"),
        (0, {"bias_offset": 300}, "RESERVED"),
        (1, {"reserved": b"\0" * 15 + b"\1"}, "RESERVED"),
        (0, {"flags": 1}, "OK"),
        (2, {"flags": 0}, "LAYERS"),
        (0, {"alpha_shift": 20}, "OK"),
        (0, {"alpha_shift": 21}, "LIMIT"),
        (0, {"alpha_shift": -1}, "LIMIT"),
        (1, {"alpha_shift": -6}, "OK"),
        (1, {"alpha_shift": -7}, "LIMIT"),
        (0, {"out": 0}, "SHAPE"),
        (0, {"stride": (0, 1)}, "SHAPE"),
        (0, {"stride": (1, 0)}, "SHAPE"),
        (2, {"weights": [0] * 108}, "OK"),
        (0, {"kernel": (0, 3), "pad": (0, 0, 0, 0)}, "SHAPE"),
        (0, {"kernel": (6, 3), "pad": (0, 0, 0, 0)}, "SHAPE"),
        (0, {"pad": (3, 0, 0, 0)}, "SHAPE"),
        (0, {"pad": (0, 0, 0, 3)}, "SHAPE"),
        (0, {"pool": 0}, "SHAPE"),
        (0, {"pool": 3}, "SHAPE"),
        (2, {"pool": 2}, "SHAPE"),
        (2, {"stride": (2, 1)}, "SHAPE"),
        (2, {"kernel": (2, 1)}, "SHAPE"),
        (2, {"pad": (1, 0, 0, 0)}, "SHAPE"),
        (0, {"activation": 0}, "SHAPE"),
        (2, {"activation": 1}, "SHAPE"),
        (1, {"weight_bytes": 1}, "SHAPE"),
        (1, {"flags": 4, "kind": 7}, "RESERVED"),
        (2, {"flags": 0, "kind": 7}, "LAYERS"),
        (0, {"kind": 7, "bits": 1}, "KIND"),
        (0, {"bits": 1, "alpha_shift": 21}, "BITS"),
        (0, {"activation": 2}, "OK"),
        (0, {"activation": 3}, "SHAPE"),
        (0, {"flags": 2, "bias_offset": 64 + 3 * 48 - 1}, "RANGE"),
        (0, {"flags": 2, "bias_offset": 10**6}, "RANGE"),
        (0, {"flags": 2, "bias": [0, 1, 1 - (1 << 24), (1 << 24) - 1]}, "OK"),
        (0, {"flags": 2, "bias": [0, 0, 0, 1 << 24]}, "WEIGHT"),
        (0, {"flags": 2, "bias": [0, 0, 0, -(1 << 24)]}, "WEIGHT"),
        (0, {"flags": 2, "bias": [0, 0, 0, -(1 << 31)]}, "WEIGHT"),
        (0, {"alpha_shift": 21, "activation": 0}, "LIMIT"),
        (1, {"weight_bytes": 1, "offset": 10**6}, "SHAPE"),
        (1, {"offset": 64 + 3 * 48 - 1}, "RANGE"),
        (1, {"offset": 10**6}, "RANGE"),
        (1, {"offset": 2**32 - 1}, "RANGE"),
        (0, {"weights": b"\2" + bytes(17)}, "WEIGHT"),
        (1, {"weights": [32512, -32512] * 72}, "OK"),
        (1, {"weights": [32513] + [0] * 143}, "WEIGHT"),
        (1, {"weights": [-32768] + [0] * 143}, "WEIGHT"),
        (2, {"weights": [64, -64] * 54}, "OK"),
        (2, {"weights": [0] * 107 + [-65]}, "WEIGHT"),
    ],
)
def test_layer_field_refused(index: int, fields: dict, name: str) -> None:
    assert refusal(net(index, **fields)) == name


KINDS = [  # of each kind one layer; trainable from the fifth on
    depthwise(2, pool=2), max_pool(2, (1, 2)), depthwise(2, **POINT), add(2, 1),
    average_pool(2, (2, 1), flags=1), depthwise(2, **POINT, flags=1), add(2, 1, flags=1),
    conv2d(3, **POINT, flags=1, store_bits=12), average_pool(3, (1, 2), flags=1),
]  # fmt: skip
TALL = (7, 8, 2)  # then 4 x 4, three times 4 x 2, four times 2 x 2, 2 x 1


@pytest.mark.parametrize(
    ("index", "fields", "name"),
    [
        (0, {}, "OK"),
        (0, {"out": 3}, "SHAPE"),
        (0, {"pool": 3}, "SHAPE"),
        (1, {"bits": 2}, "BITS"),
        (1, {"store_bits": 8}, "BITS"),
        (1, {"flags": 2}, "RESERVED"),
        (1, {"offset": 500}, "RESERVED"),
        (1, {"weight_bytes": 1}, "SHAPE"),
        (1, {"skip": 1}, "RESERVED"),
        (1, {"factor": 1}, "RESERVED"),
        (1, {"alpha_shift": 1}, "LIMIT"),
        (1, {"activation": 1}, "SHAPE"),
        (1, {"out": 1}, "SHAPE"),
        (1, {"pool": 2}, "SHAPE"),
        (1, {"kernel": (0, 1)}, "SHAPE"),
        (1, {"stride": (1, 0)}, "SHAPE"),
        (1, {"pad": (0, 2, 0, 0)}, "SHAPE"),
        (1, {"kernel": (5, 1)}, "SHAPE"),
        (3, {"skip": 0}, "SHAPE"),
        (3, {"skip": 2}, "SHAPE"),
        (3, {"skip": 3}, "SHAPE"),
        (3, {"skip": 4}, "SHAPE"),
        (3, {"alpha_shift": 7}, "OK"),
        (3, {"alpha_shift": 8}, "LIMIT"),
        (3, {"activation": 0}, "SHAPE"),
        (3, {"out": 3}, "SHAPE"),
        (3, {"kernel": (1, 2)}, "SHAPE"),
        (3, {"stride": (2, 1)}, "SHAPE"),
        (3, {"pool": 2}, "SHAPE"),
        (3, {"factor": 1}, "RESERVED"),
        (3, {"bits": 8, "store_bits": 0}, "BITS"),
        (4, {"factor": 0}, "SHAPE"),
        (4, {"factor": 65535}, "OK"),
        (4, {"alpha_shift": 24}, "OK"),
        (4, {"alpha_shift": 25}, "LIMIT"),
        (4, {"store_bits": 8}, "BITS"),
        (4, {"flags": 3}, "RESERVED"),
        (6, {"skip": 2}, "SHAPE"),
        (8, {"activation": 1}, "SHAPE"),
        (8, {"kind": 5, "factor": 0, "alpha_shift": 0}, "SHAPE"),
        (8, {"pad": (0, 0, 0, 1), "stride": (1, 1)}, "OK"),
        (8, {"pad": (0, 0, 0, 2)}, "SHAPE"),
    ],
)
def test_field_of_each_kind_refused(index: int, fields: dict, name: str) -> None:
    layers = [x | fields if i == index else x for i, x in enumerate(KINDS)]
    assert refusal(make_blob(layers, TALL)) == name


def test_add_refused() -> None:
    def verdict(skips: list[int], frozen: int, kinds: str) -> str:
        layers = []
        for at, kind in enumerate(kinds):
            one = dense(3) if kind == "d" else add(3, skips.pop(0))
            layers.append(one | {"flags": int(at >= frozen)})
        return refusal(make_blob(layers, (1, 1, 3)))

    assert verdict([1, 1], 0, "dadad") == "OK"
    assert verdict([1, 3], 0, "dadad") == "LAYERS"  # both the input of the first layer
    assert verdict([2, 3], 0, "ddadad") == "OK"  # crossed
    assert verdict([1, 2], 0, "daad") == "LAYERS"
    assert verdict([2], 0, "ddad") == "OK"
    assert verdict([2], 1, "ddad") == "LAYERS"  # its skip is below the cut
    assert verdict([1], 1, "ddad") == "OK"  # the latent is its skip
    assert verdict([2], 2, "ddad") == "LAYERS" and verdict([2], 3, "ddad") == "OK"
    assert verdict([1], 0, "da") == "SHAPE"  # no last layer
    assert verdict([1], 0, "ad") == "SHAPE"  # nothing below
    assert verdict([2, 2], 0, "dddaad") == "OK"
    both = [dense(4, flags=1), dense(3, flags=1), dense(3, flags=1), add(3, 2, flags=1)]
    assert refusal(make_blob([*both, dense(2, flags=1)], (1, 1, 3))) == "SHAPE"
    other = [dense(3), dense(4, flags=1), add(4, 2, flags=1), dense(2, flags=1)]
    assert refusal(make_blob(other, (1, 1, 3))) == "SHAPE"  # before the cut is looked at
    wrong = [dense(3), dense(3, flags=1), add(3, 2, flags=1, bits=2), dense(2, flags=1)]
    assert refusal(make_blob(wrong, (1, 1, 3))) == "BITS"


def test_trainable_bias_is_refused_under_the_paper_policy() -> None:
    for policy, flags, name in ((1, 3, "POLICY"), (3, 3, "POLICY"), (0, 3, "OK"), (2, 3, "OK")):
        header = {"flags": policy}
        assert refusal(make_blob([dense(2, flags=flags)], (1, 1, 3), header=header)) == name
        frozen = [dense(2, flags=2), dense(2, flags=1)]
        assert refusal(make_blob(frozen, (1, 1, 3), header=header)) == "OK"
    wrong = dense(2, flags=3, alpha_shift=21)
    assert refusal(make_blob([wrong], (1, 1, 3), header={"flags": 1})) == "POLICY"
    wrong = dense(2, flags=3, store_bits=17)
    assert refusal(make_blob([wrong], (1, 1, 3), header={"flags": 1})) == "BITS"


def test_layers_that_cannot_be_last_and_average_that_can() -> None:
    last = {"flags": 1, "activation": 0}
    assert refusal(make_blob([dense(3), max_pool(3, (1, 1), **last)], (1, 1, 3))) == "SHAPE"
    assert refusal(make_blob([dense(3), add(3, 1, **last)], (1, 1, 3))) == "SHAPE"
    assert refusal(make_blob([dense(3), average_pool(3, (1, 1), **last)], (1, 1, 3))) == "OK"
    assert refusal(make_blob([dense(3), average_pool(3, (1, 1))], (1, 1, 3))) == "LAYERS"
    assert refusal(make_blob([depthwise(3, **POINT, flags=1)], (1, 1, 3))) == "OK"


def test_frozen_weights_refused() -> None:
    two, eight, last = dense(3, bits=2), dense(2), dense(2, flags=1)

    def verdict(of_two: bytes, of_eight: bytes = bytes(6)) -> str:
        layers = [two | {"weights": of_two}, eight | {"weights": of_eight}, last]
        return refusal(make_blob(layers, (1, 1, 3)))

    assert verdict(b"\xff\x55\x03") == "OK"
    assert verdict(b"\0\0\x08") == "OK"  # nine weights; the tenth place is not checked
    assert verdict(b"\0\0\x02") == "WEIGHT"
    assert verdict(bytes(3), b"\x81" + bytes(5)) == "OK"
    assert verdict(bytes(3), b"\x80" + bytes(5)) == "WEIGHT"


def test_model_without_a_layer_that_learns_is_refused() -> None:
    assert refusal(make_blob([dense(2)], (1, 1, 3))) == "LAYERS"
    assert refusal(make_blob([dense(2)], (1, 1, 3), header={"classes": 3})) == "LAYERS"


def test_factory_samples_refused() -> None:
    layer, latents = dense(2, flags=1), np.zeros(6)
    for labels, header, name in (
        ([1, 0], {}, "OK"),
        ([1, 2], {}, "REPLAY"),
        ([1, 0], {"replay_capacity": 1}, "REPLAY"),
        ([1, 0], {"factory_offset": 64}, "RANGE"),
        ([1, 0], {"factory_offset": 125}, "RANGE"),
        ([1, 0], {"factory_samples": 3, "replay_capacity": 3}, "RANGE"),
    ):
        blob = make_blob([layer], (1, 1, 3), factory=(labels, latents), header=header)
        assert refusal(blob) == name, header


def test_truncated_and_lengthened_blobs_are_refused() -> None:
    blob = net()
    for count in range(len(blob)):
        assert refusal(blob[:count]) == "SHORT"
    assert refusal(blob + b"\0") == "LENGTH"


def test_every_flipped_byte_is_refused_by_the_crc() -> None:
    blob = net()
    for at in range(len(blob)):
        bad = blob[:at] + bytes([blob[at] ^ 0x41]) + blob[at + 1 :]
        names = {0: "MAGIC", 1: "VERSION", 2: "SHORT LENGTH"}
        name = "VERSION" if at == 17 else names.get(at // 4, "CRC")
        assert refusal(bad) in name.split()


def test_changed_blobs_with_a_right_crc_are_opened_or_refused_by_name() -> None:
    rng = random.Random(5)
    for seed in range(30):
        blob = random_models.random_model(seed)
        for _ in range(60):
            at = rng.randrange(16, min(len(blob), 260))
            bad = patch(blob, at, bytes([rng.choice((0, 1, 2, 3, 127, 128, 255))]))
            if refusal(bad) == "OK":
                model = ref.open_model(bad)
                assert ref.state_crc(model) == ref.crc32(ref.state_bytes(model))
