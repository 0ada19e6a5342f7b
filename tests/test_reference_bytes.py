"""The oracle's bytes: state, checkpoint and blob (SPEC 7 and 9)."""

# SPDX-License-Identifier: MIT

import random

import blobs
import numpy as np
import pytest
import reference as ref
from blobs import conv2d, dense, make_blob, patch, small_blob

# State (SPEC 7)


@pytest.mark.parametrize("seed", range(20))
def test_state_has_one_length_and_continues_where_it_was(seed: int) -> None:
    blob = blobs.random_model(seed)
    model, again = ref.open_model(blob), ref.open_model(blob)
    state = ref.state_bytes(model)
    length = ref.checkpoint_bytes(model)
    ref.start(model, 1)
    for id, (x, label) in enumerate(blobs.random_stream(blob, seed, 12), 1):
        ref.learn(model, id, x, label)
        assert ref.checkpoint_bytes(model) == length == len(ref.checkpoint(model, id))
        if id >= 6:
            if id == 6:
                ref.load_state(again, state)  # as it was after sample 5
            ref.learn(again, id, x, label)
        state = ref.state_bytes(model)
    assert ref.state_bytes(again) == state
    assert ref.state_bytes(ref.open_model(blob)) != state


def test_checkpoint_is_laid_out_as_documented() -> None:
    model = ref.open_model(small_blob(replay_capacity=2, seed=0x01020304))
    ref.start(model, 5)
    ref.learn(model, 1, np.array([1, 2, 3, 4]), 2)
    data = ref.checkpoint(model, 9, program_bytes=32)
    state = ref.state_bytes(model)
    words = np.frombuffer(data[:32], "<u4").tolist()
    assert data[:4] == b"WCKP" and len(data) % 32 == 0
    assert words[1:4] == [1, 9, len(state)] and words[6] == 0
    assert words[4:6] == [model.blob_crc, ref.state_crc(model)]
    assert words[7] == ref.crc32(data[:28])
    assert data[32 : 32 + len(state)] == state
    assert set(data[32 + len(state) :]) == {0xFF}
    assert np.frombuffer(state[:20], "<u4").tolist() == [5, 1, 2, 1, 0x01020304]
    assert list(state[20:24]) == [256 - 6, 1, 2, 0]
    by_class = np.frombuffer(state[40:76], "<u4").reshape(3, 3)[2].tolist()
    assert by_class == [1, 1, model.class_correct[2]]
    assert state[76:100] == ref.weight_bytes(model)
    assert state[100:] == b"\1\0\0\0" + b"\2\1\2\3\4" + bytes(5)


def test_load_state_refuses_what_is_out_of_range_and_changes_nothing() -> None:
    model = ref.open_model(small_blob(replay_capacity=2))
    ref.start(model, 5)
    ref.learn(model, 1, np.array([1, 2, 3, 4]), 2)
    good = ref.state_bytes(model)
    fresh = ref.open_model(small_blob(replay_capacity=2))
    factory = ref.state_bytes(fresh)
    for at, data in ((20, b"\x08"), (22, b"\x08"), (23, b"\x80"), (76, b"\xff\x7f"),
                     (100, b"\x03"), (104, b"\x03"), (len(good), b"\0")):  # fmt: skip
        bad = good[:at] + data + good[at + len(data) :]
        with pytest.raises(ref.RefusedError):
            ref.load_state(fresh, bad)
        assert ref.state_bytes(fresh) == factory


# Blobs (SPEC 9, 2.6)

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
        ("reserved", 1, "RESERVED"),
        ("reserved_end", 1, "RESERVED"),
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
        (0, {"kind": 3}, "KIND"),
        (0, {"bits": 4}, "BITS"),
        (0, {"flags": 2}, "RESERVED"),
        (1, {"reserved": b"\0" * 23 + b"\1"}, "RESERVED"),
        (0, {"flags": 1}, "OK"),
        (2, {"flags": 0}, "LAYERS"),
        (0, {"alpha_shift": 20}, "OK"),
        (0, {"alpha_shift": 21}, "LIMIT"),
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
        (1, {"flags": 2, "kind": 3}, "RESERVED"),
        (2, {"flags": 0, "kind": 3}, "LAYERS"),
        (0, {"kind": 3, "bits": 3}, "KIND"),
        (0, {"bits": 3, "alpha_shift": 21}, "BITS"),
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


def test_sums_that_could_overflow_are_refused() -> None:
    last = dense(2, flags=1)
    assert refusal(make_blob([last], (1, 1, 65535))) == "OK"
    assert refusal(make_blob([last], (1, 3, 43690))) == "OK"
    assert refusal(make_blob([last], (1, 2, 65535))) == "OK"
    assert refusal(make_blob([last], (1, 131071 // 61 + 1, 61))) == "LIMIT"
    point = {"kernel": (1, 1), "pad": (0, 0, 0, 0)}
    wide = [conv2d(1, **point), conv2d(1, kernel=(255, 255), pad=(0, 0, 0, 0)), last]
    assert refusal(make_blob(wide, (362, 363, 1))) == "LIMIT"  # 131,406 positions
    assert refusal(make_blob(wide, (362, 362, 1))) == "OK"  # 131,044 positions
    fan_out = [conv2d(15000, kernel=(3, 3), pad=(0, 0, 0, 0)), last]
    assert refusal(make_blob(fan_out, (3, 3, 1))) == "LIMIT"
    fan_out[0]["out"] = 131071 // 9
    assert refusal(make_blob(fan_out, (3, 3, 1))) == "OK"


def test_tensors_and_arenas_that_are_too_large_are_refused() -> None:
    last = dense(2, flags=1)
    small = conv2d(1, kernel=(1, 1), pad=(0, 0, 0, 0), stride=(16, 16))
    assert refusal(make_blob([small, last], (1024, 1024, 1))) == "OK"
    assert refusal(make_blob([small, last], (1025, 1024, 1))) == "LIMIT"
    many = conv2d(64, kernel=(1, 1), pad=(0, 0, 0, 0))
    fewer = conv2d(1, kernel=(1, 1), pad=(0, 0, 0, 0), stride=(2, 2))
    assert refusal(make_blob([many, fewer, last], (128, 128, 1))) == "OK"
    assert refusal(make_blob([many, fewer, last], (128, 129, 1))) == "LIMIT"
    long = conv2d(1, kernel=(9, 1), pad=(8, 0, 8, 0), stride=(1, 1), pool=2)
    assert refusal(make_blob([long, last], (65527, 1, 1))) == "OK"  # 65,535 rows
    assert refusal(make_blob([long, last], (65528, 1, 1))) == "LIMIT"
    for capacity, name in ((7000, "OK"), (9000, "LIMIT")):  # of 131,071 bytes
        header = {"replay_capacity": capacity}
        assert refusal(make_blob([last], (1, 2, 65535), header=header)) == name


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
        blob = blobs.random_model(seed)
        for _ in range(60):
            at = rng.randrange(16, min(len(blob), 260))
            bad = patch(blob, at, bytes([rng.choice((0, 1, 2, 3, 127, 128, 255))]))
            if refusal(bad) == "OK":
                model = ref.open_model(bad)
                assert ref.state_crc(model) == ref.crc32(ref.state_bytes(model))


def test_random_models_are_valid_varied_and_learn() -> None:
    kinds, kept = set(), 0
    for seed in range(60):
        blob = blobs.random_model(seed)
        assert blob == blobs.random_model(seed)
        model = ref.open_model(blob)
        kept += len(model.replay)
        for layer in model.layers:
            kinds.add((layer.kind, layer.bits, layer.trainable, layer.pool))
    assert len(kinds) == 12 and kept > 50


PINNED = [  # CRC of weights and of state
    (0x19574BAB, 0xE16EBF4B),
    (0xC28FEB0E, 0xE1705FC1),
    (0x43886435, 0xF8808693),
    (0x275C4C9F, 0x9042CB92),
]


def test_state_after_learning_is_pinned() -> None:
    """These numbers change only with the arithmetic of SPEC.md, and then on purpose."""
    found = []
    for seed in (0, 1, 2, 3):
        blob = blobs.random_model(seed, lr_shift=-5)
        model = ref.open_model(blob)
        ref.start(model, 1)
        for id, (x, label) in enumerate(blobs.random_stream(blob, seed, 30), 1):
            ref.learn(model, id, x, label)
        found.append((ref.weight_crc(model), ref.state_crc(model)))
    assert found == PINNED
