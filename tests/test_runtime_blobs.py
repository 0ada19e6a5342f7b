"""What the C loader says of right and wrong blobs, against the oracle (SPEC 9.6)."""

# SPDX-License-Identifier: MIT

import random
import struct
from collections import Counter
from itertools import product

import blobs
import numpy as np
import random_models
import reference as ref
from blobs import HEADER, RECORD, SSE, add, average_pool, conv2d, dense, depthwise, make_blob
from wage_host._core import ffi, lib
from wage_host.core import ERROR_NAMES, Core, Info, info

CASES = 4500
MODELS = 80
ARENA_OPENED = 1 << 20
# Where fields begin, and their bytes
HEADER_SIZES = {
    4: 2, 6: 2, 8: 4, 16: 1, 17: 1, 18: 2, 20: 2, 22: 2, 24: 2, 26: 1, 27: 1, 28: 1, 29: 1, 30: 1,
    31: 1, 32: 4, 36: 2, 38: 2, 40: 4, 44: 1, 58: 1, 59: 1, 60: 2, 62: 1, 63: 1,
}  # fmt: skip
RECORD_SIZES = {
    0: 1, 1: 1, 2: 1, 3: 1, 4: 2, 6: 1, 7: 1, 8: 1, 9: 1, 10: 1, 11: 1, 12: 1, 13: 1, 14: 1, 15: 1,
    16: 4, 20: 4, 24: 1, 25: 1, 26: 2, 28: 4, 32: 1, 47: 1,
}  # fmt: skip
VALUES = (
    0, 1, 2, 3, 4, 7, 8, 9, 16, 20, 21, 24, 32, 33, 48, 64, 127, 128, 231, 232, 255, 256, 300, 1024,
    1025, 4096, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 1 << 20, 1 << 31, 0xFFFFFFFF,
)  # fmt: skip


def c_refusal(blob: bytes) -> str:
    """The name of what wage_info answers, or of why its extras are refused."""
    data = ffi.from_buffer("uint8_t[]", blob)
    error = lib.wage_info(data, len(blob), ffi.new("struct wage_info *"))
    error = error or lib.wage_prepare_step(data, len(blob), 0, ffi.new("struct wage_prepare *"))
    return ERROR_NAMES[min(0, error)]


def verdict(blob: bytes) -> tuple[str, ref.Model | None]:
    """The oracle's refusal or its model; both loaders must agree."""
    model, name = None, "WAGE_OK"
    try:
        opened = ref.open_model(blob)
        ref.check_extras(blob)
        model = opened
    except ref.RefusedError as error:
        name = error.name
    assert c_refusal(blob) == name, blob.hex()[:1000]
    return name, model


def same_model(blob: bytes, model: ref.Model) -> None:
    """Both have read the same from a blob."""
    c = info(blob)
    latent = int(np.prod(model.latent_shape))
    assert c.arena_bytes >= ref.blob.kept_bytes(model)
    size = int(np.prod(model.input_shape))
    want = Info(model.name, model.blob_crc, model.input_shape, model.input_map, model.classes,
                size, latent, c.arena_bytes, model.batch,
                replay_bytes=size if model.inputs else latent)  # fmt: skip
    assert c == want
    if c.arena_bytes > ARENA_OPENED:
        return
    core = Core(blob)
    assert tuple(vars(core.config()).values()) == tuple(vars(model.config).values())
    assert lib.wage_checkpoint_bytes(core.wage) == ref.checkpoint_bytes(model)
    assert core.state_crc() == ref.state_crc(model)
    for k, layer in enumerate(model.layers):
        c_layer = core.wage.layers[k]
        assert (c_layer.sum_h, c_layer.sum_w, c_layer.out_c) == layer.sum_shape
        assert (c_layer.out_h, c_layer.out_w, c_layer.out_c) == layer.out_shape
        if layer.w is None:
            assert c_layer.weight_count == c_layer.row_count == 0
            continue
        row = ffi.new("int8_t[]", layer.fan_in)
        for o in {0, layer.out - 1}:
            used = ffi.buffer(lib.wage_row(ffi.addressof(c_layer), o, row), layer.fan_in)
            np.testing.assert_array_equal(np.frombuffer(used, np.int8), layer.q[o])
            bias = 0 if layer.bias is None else layer.bias[o]
            assert lib.wage_bias(ffi.addressof(c_layer), o) == bias


def put(blob: bytearray, at: int, size: int, value: int) -> None:
    """A number of `size` bytes into a blob."""
    blob[at : at + size] = (value & ((1 << 8 * size) - 1)).to_bytes(size, "little")


def near(rng: random.Random, blob: bytes, at: int, size: int) -> int:
    """A value next to the one there, or an edge."""
    now = int.from_bytes(blob[at : at + size], "little")
    return rng.choice((now + 1, now - 1, 2 * now, now ^ (1 << rng.randrange(8 * size)),
                       rng.choice(VALUES), rng.choice(VALUES), len(blob)))  # fmt: skip


def mutated(rng: random.Random, blob: bytes) -> bytes:
    """A blob with one to three wrong fields or bytes, mostly with a right CRC."""
    out, layers = bytearray(blob), blobs.header_fields(blob)["layers"]
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3))):
        what = rng.randrange(10)
        if what < 3:
            at, size = rng.choice(list(HEADER_SIZES.items()))
        elif what < 8:
            at, size = rng.choice(list(RECORD_SIZES.items()))
            at += HEADER.size + RECORD.size * rng.randrange(layers)
        else:
            at, size = rng.randrange(len(out)), 1
        if at + size <= len(out):
            put(out, at, size, near(rng, out, at, size))
    if rng.randrange(12) == 0:
        cut = rng.randrange(-20, 20)
        out = out[:cut] if cut < 0 else out + bytes(cut)
        if rng.randrange(2) and len(out) > 16:
            put(out, 8, 4, len(out))
    return bytes(out) if rng.randrange(10) == 0 or len(out) < 16 else blobs.seal(bytes(out))


def test_random_models_are_read_the_same() -> None:
    for number in range(MODELS):
        blob = random_models.random_model(number)
        name, model = verdict(blob)
        assert name == "WAGE_OK" and model is not None
        same_model(blob, model)


def test_mutated_blobs_are_refused_for_the_same_reason(seed: int) -> None:
    rng, names = random.Random(seed), Counter()
    for _ in range(CASES):
        blob = mutated(rng, random_models.random_model(rng.randrange(MODELS)))
        name, model = verdict(blob)
        names[name.removeprefix("WAGE_").removeprefix("E_")] += 1
        if model is not None:
            same_model(blob, model)
    print(f"--seed={seed}", dict(names))
    rare = {"MAGIC", "POLICY"}
    assert len(names) >= 16 and min(names[name] for name in names if name not in rare) > 10


def test_two_faults_give_the_first_in_the_order_of_the_document(seed: int) -> None:
    rng, base = random.Random(seed), random_models.random_model(3)
    layers = blobs.header_fields(base)["layers"]
    places = list(HEADER_SIZES.items())
    for k in range(layers):
        first = HEADER.size + RECORD.size * k
        places += [(first + at, size) for at, size in RECORD_SIZES.items()]
    for at, size in places:
        for other, other_size in rng.sample(places, 30):
            blob = bytearray(base)
            put(blob, at, size, rng.choice(VALUES))
            put(blob, other, other_size, rng.choice(VALUES))
            verdict(blobs.seal(bytes(blob)))


def test_limits_are_at_the_same_number() -> None:
    last, point = dense(2, flags=1), {"kernel": (1, 1), "pad": (0, 0, 0, 0)}
    for shape in ((1, 2, 65535), (1, 3, 43690), (1, 3, 43691), (2, 2, 32767), (2, 2, 32768)):
        verdict(make_blob([last], shape))
    for out in (131071 // 9, 131071 // 9 + 1):
        fan_out = [conv2d(out, pad=(0, 0, 0, 0)), last]
        verdict(make_blob(fan_out, (3, 3, 1)))
    for side in (361, 362, 363):
        wide = [conv2d(1, **point), conv2d(1, kernel=(255, 255), pad=(0, 0, 0, 0)), last]
        verdict(make_blob(wide, (362, side, 1)))
    for shape, name in (((512, 256, 1), "OK"), ((3, 43691, 1), "E_LIMIT")):  # 131,072 and 131,073
        assert verdict(make_blob([last], shape))[0] == "WAGE_" + name
        strided = conv2d(1, **point, pool=2)
        small = conv2d(1, kernel=(2, 1), stride=(2, 1), pad=(0, 0, 0, 0))
        assert verdict(make_blob([strided, small, last], shape))[0] == "WAGE_" + name
    for kernel, in_c, name in (((4, 4), 8192, "OK"), ((4, 4), 8193, "E_LIMIT")):
        deep = [conv2d(1, kernel=kernel, pad=(0, 0, 0, 0)), last]
        assert verdict(make_blob(deep, (4, 4, in_c)))[0] == "WAGE_" + name
        wide = [conv2d(in_c, kernel=kernel, pad=(0, 0, 0, 0)), last]
        assert verdict(make_blob(wide, (*kernel, 1)))[0] == "WAGE_" + name
        channels = [depthwise(in_c, kernel=kernel, pad=(0, 0, 0, 0)), dense(2, flags=1)]
        assert verdict(make_blob(channels, (*kernel, in_c)))[0] == "WAGE_OK"
    for rows in (65526, 65527, 65528):
        verdict(make_blob([conv2d(1, kernel=(9, 1), pad=(8, 0, 8, 0), pool=2), last], (rows, 1, 1)))
        verdict(make_blob([conv2d(1, kernel=(1, 9), pad=(0, 8, 0, 8), pool=2), last], (1, rows, 1)))
    for side in (1023, 1024, 1025):
        verdict(make_blob([conv2d(1, **point, stride=(16, 16)), last], (1024, side, 1)))
    for side in (127, 128, 129):
        fewer = conv2d(1, **point, stride=(2, 2))
        verdict(make_blob([conv2d(64, **point), fewer, last], (128, side, 1)))
        verdict(make_blob([conv2d(256, **point, pool=2), fewer, last], (128, side, 1)))
    for out, name in ((16384, "SHAPE"), (16385, "LIMIT")):  # times 131,070: about 2^31 weights
        blob = make_blob([dense(out, weights=b""), last | {"weights": b""}], (1, 3, 43690))
        assert verdict(blob)[0] == "WAGE_E_" + name


def test_limits_of_batches_pools_and_logits() -> None:
    last, point = dense(2, flags=1), {"kernel": (1, 1), "pad": (0, 0, 0, 0)}
    for batch, name in ((2, "OK"), (3, "E_LIMIT"), (4096, "E_LIMIT"), (4097, "E_CONFIG")):
        blob = make_blob([conv2d(1, **point), last], (256, 256, 1), header={"batch": batch})
        assert verdict(blob)[0] == "WAGE_" + name
    for factor, name in ((258, "OK"), (259, "E_LIMIT"), (0, "E_SHAPE")):
        pool = average_pool(1, (255, 255), factor=factor, alpha_shift=24)
        assert verdict(make_blob([pool, last], (255, 255, 1)))[0] == "WAGE_" + name
    for fan_in, scale, name in ((130000, 10, "OK"), (130000, 11, "E_LIMIT"), (131072, 0, "E_LIMIT"),
                                (4, 16, "OK"), (4, 17, "E_LIMIT")):  # fmt: skip
        one = dense(2, flags=1, alpha_shift=scale)
        blob = make_blob([one], (1, fan_in // 4, 4), header={"flags": SSE})
        assert verdict(blob)[0] == "WAGE_" + name, (fan_in, scale)


def test_skips_are_checked_one_by_one() -> None:
    for skips in product(range(5), repeat=3):
        layers = [dense(2), *(add(2, skip) for skip in skips), dense(2, flags=1)]
        sources = [k - skip for k, skip in enumerate(skips, 1)]
        name = "OK"
        for number, (skip, source) in enumerate(zip(skips, sources, strict=True)):
            if skip == 0 or source < 0:
                name = "E_SHAPE"
            elif source in sources[:number]:
                name = "E_LAYERS"
            if name != "OK":
                break
        assert verdict(make_blob(layers, (1, 1, 2)))[0] == "WAGE_" + name, skips
    for frozen in range(5):
        layers = [dense(2), dense(2), add(2, 1), add(2, 2), dense(2)]
        for number, layer in enumerate(layers):
            layer["flags"] = int(number >= frozen)
        verdict(make_blob(layers, (1, 1, 2)))
    other = [dense(2), dense(3), add(3, 1), dense(2, flags=1)]
    assert verdict(make_blob(other, (1, 1, 2)))[0] == "WAGE_E_SHAPE"


def test_arena_of_a_gibibyte_is_refused() -> None:
    last = dense(2, flags=1)
    for capacity, name in ((8180, "WAGE_OK"), (8192, "WAGE_E_LIMIT"), (65535, "WAGE_E_LIMIT")):
        blob = make_blob([last], (1, 3, 43690), header={"replay_capacity": capacity})
        assert verdict(blob)[0] == name


def test_factory_samples_may_overlap_other_sections_but_not_the_records() -> None:
    last = dense(2, flags=1)
    blob = make_blob([last], (1, 1, 3), factory=([1, 0], np.zeros(6)))
    records = HEADER.size + RECORD.size
    end = len(blob) - 8  # a label and three activations, twice
    for at, name in ((records - 1, "WAGE_E_RANGE"), (records, "WAGE_OK"), (end, "WAGE_OK"),
                     (end + 1, "WAGE_E_RANGE"), (0xFFFFFFFF, "WAGE_E_RANGE")):  # fmt: skip
        assert verdict(blobs.patch(blob, 40, struct.pack("<I", at)))[0] == name
