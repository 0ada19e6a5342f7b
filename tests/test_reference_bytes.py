"""The oracle's bytes: state and checkpoint (SPEC 7)."""

# SPDX-License-Identifier: MIT

import blobs
import numpy as np
import pytest
import random_models
import reference as ref
from blobs import dense, make_blob, small_blob

# State (SPEC 7)


@pytest.mark.parametrize("seed", range(20))
def test_state_has_one_length_and_continues_where_it_was(seed: int) -> None:
    blob = random_models.random_model(seed)
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
    assert words[1:4] == [1, 9, len(state)] and words[6] == 9
    assert words[4:6] == [model.blob_crc, ref.state_crc(model)]
    assert words[7] == ref.crc32(data[:28])
    assert data[32 : 32 + len(state)] == state
    assert set(data[32 + len(state) :]) == {0xFF}
    assert np.frombuffer(state[:36], "<u4").tolist() == [0, 0, 0, 0, 5, 1, 2, 1, 0x01020304]
    assert list(state[36:41]) == [256 - 6, 1, 2, 0, 1]
    by_class = np.frombuffer(state[57:81], "<u4").reshape(3, 2)[2].tolist()
    assert by_class == [1, model.class_correct[2]]
    assert state[81:105] == ref.weight_bytes(model)
    assert np.frombuffer(state[105:117], "<u4").tolist() == model.class_total
    assert state[117:] == b"\1\0\0\0" + b"\2\1\2\3\4" + bytes(5)


def test_state_with_bias_momentum_and_narrow_weights_is_laid_out_as_documented() -> None:
    layers = [dense(2, flags=3, bits=4, store_bits=9, weights=[1, 2, -3, 4], bias=[5, -6]),
              dense(2, flags=1, bits=3, store_bits=8, weights=[7, -8, 9, 10])]  # fmt: skip
    header = {"momentum": 2, "lr_factor": 9, "replay_capacity": 1}
    model = ref.open_model(make_blob(layers, (1, 1, 2), header=header))
    model.learning[0].v[:] = [[-1, 2], [3, 4]]
    model.learning[1].v[:] = [[500, 6], [7, -32767]]
    weights = np.array([1, 2, -3, 4], "<i2").tobytes() + np.array([5, -6], "<i4").tobytes()
    weights += np.array([7, -8, 9, 10], "i1").tobytes()
    assert ref.weight_bytes(model) == weights
    v = np.array([-1, 2, 3, 4, 500, 6, 7, -32767], "<i2").tobytes()
    state = ref.state_bytes(model)
    assert state[40] == 9
    assert state[57 + 2 * 8 :] == weights + v + bytes(8) + bytes(4) + bytes(3)
    again = ref.open_model(make_blob(layers, (1, 1, 2), header=header))
    ref.load_state(again, state)
    assert ref.state_bytes(again) == state and again.learning[1].v[0, 0] == 500
    at = 73 + 8  # of the first bias: 2^24 is too large
    bad = state[:at] + b"\0\0\0\1" + state[at + 4 :]
    with pytest.raises(ref.RefusedError, match="NO_CHECKPOINT"):
        ref.load_state(again, bad)
    assert ref.state_bytes(again) == state


def test_load_state_refuses_what_is_out_of_range_and_changes_nothing() -> None:
    model = ref.open_model(small_blob(replay_capacity=2))
    ref.start(model, 5)
    ref.learn(model, 1, np.array([1, 2, 3, 4]), 2)
    good = ref.state_bytes(model)
    fresh = ref.open_model(small_blob(replay_capacity=2))
    factory = ref.state_bytes(fresh)
    for at, data in ((36, b"\x08"), (38, b"\x08"), (39, b"\x80"), (40, b"\0"), (40, b"\x10"),
                     (81, b"\xff\x7f"), (117, b"\x03"), (121, b"\x03"), (len(good) - 1, b"\1"),
                     (len(good), b"\0")):  # fmt: skip
        bad = good[:at] + data + good[at + len(data) :]
        with pytest.raises(ref.RefusedError):
            ref.load_state(fresh, bad)
        assert ref.state_bytes(fresh) == factory


# Random models (blobs.py)


def test_random_models_are_valid_and_have_everything() -> None:
    seen, kept = set(), 0
    for seed in range(250):
        blob = random_models.random_model(seed)
        assert blob == random_models.random_model(seed)
        model = ref.open_model(blob)
        kept += len(model.replay)
        seen |= {("policy", model.paper, model.sse), ("momentum", model.momentum > 0, model.paper)}
        seen |= {("batch", model.batch), ("last", model.layers[-1].kind)}
        seen |= {("factor", model.config.lr_factor > 1), ("row", model.input_shape[0] == 1)}
        for layer in model.layers:
            seen |= {(layer.kind, layer.trainable), ("pool", layer.kind, layer.pool)}
            seen |= {("kW", layer.bits, layer.trainable), ("kG", layer.store_bits)}
            seen |= {("bias", layer.bias is not None, layer.trainable)}
            seen |= {("activation", layer.activation, layer.kind == ref.ADD, layer.paper)}
    both = (False, True)
    wanted = {(kind, trainable) for kind in range(1, 7) for trainable in both}
    wanted |= {("policy", a, b) for a in both for b in both} | {("factor", True), ("row", True)}
    wanted |= {("momentum", a, b) for a in both for b in both} | {("bias", True, a) for a in both}
    wanted |= {("batch", n) for n in range(1, 9)} | {("kG", n) for n in range(2, 17)}
    wanted |= {("kW", n, a) for n in range(2, 9) for a in both} | {("pool", 2, 2), ("pool", 3, 2)}
    wanted |= {("activation", k, a, b) for k in (1, 2) for a in both for b in both}
    wanted |= {("last", kind) for kind in (ref.DENSE, ref.CONV2D, ref.DEPTHWISE, ref.AVERAGE_POOL)}
    assert wanted <= seen, wanted - seen
    assert kept > 50


PINNED = [  # CRC of weights and of state
    (0x6188B8B2, 0xE452FAA0),
    (0xD2CB03A0, 0xC8B7C482),
    (0xA6C47077, 0xFCB0A786),
    (0xD7F135DB, 0x9D15BB8A),
    (0x55C2B9D6, 0x4D0B4F9E),
    (0x29FC6711, 0xAABAF274),
    (0x77042D37, 0xF0F48A06),
    (0x16AD9DD2, 0x7FB0554B),
    (0xF1ACCDED, 0x1A19F08F),
    (0xA7308E86, 0x31200C51),
    (0xC5C02092, 0xA0ADC816),
    (0x70DC946B, 0xF03DA939),
]


def test_state_after_learning_is_pinned() -> None:
    """These numbers change only with the arithmetic of SPEC.md, and then on purpose."""
    found = []
    for seed in range(len(PINNED)):
        blob = random_models.random_model(seed)
        model = ref.open_model(blob)
        ref.start(model, 1)
        for id, (x, label) in enumerate(blobs.random_stream(blob, seed, 30), 1):
            ref.learn(model, id, x, label)
        found.append((ref.weight_crc(model), ref.state_crc(model)))
    assert found == PINNED
