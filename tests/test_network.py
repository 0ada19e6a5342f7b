"""Networks from text: what the notation means, their first weights, their bytes, their limits."""

# SPDX-License-Identifier: MIT

import zlib
from fractions import Fraction

import numpy as np
import pytest
import reference as ref
from wage_host import initial, network, pack, rng, zoo
from wage_host._core import lib
from wage_host.core import Config, Core
from wage_host.errors import ModelError
from wage_host.layers import Network
from wage_host.pack import Rules

CONFIG = Config(seed=9, lr_shift=-5, replays=3, gain_shift=2, threshold=1, lr_factor=3)

# Token, input, expected: kind, kernel, stride, padding, pool, activation, skip, output shape.
TOKENS = [
    ("8C3", (9, 7, 2), ref.CONV2D, (3, 3), (1, 1), (1, 1), 1, ref.RELU, 0, (9, 7, 8)),
    ("8C3v", (9, 7, 2), ref.CONV2D, (3, 3), (1, 1), (0, 0), 1, ref.RELU, 0, (7, 5, 8)),
    ("8C5/2", (9, 7, 2), ref.CONV2D, (5, 5), (2, 2), (2, 2), 1, ref.RELU, 0, (5, 4, 8)),
    ("8C4v/3s-MP2", (12, 9, 1), ref.CONV2D, (4, 4), (3, 3), (0, 0), 2, ref.SIGNED, 0, (2, 1, 8)),
    ("8C1x9", (1, 128, 6), ref.CONV2D, (1, 9), (1, 1), (0, 4), 1, ref.RELU, 0, (1, 128, 8)),
    ("8C1x9v/2-MP2", (1, 128, 6), ref.CONV2D, (1, 9), (2, 2), (0, 0), 2, ref.RELU, 0, (1, 30, 8)),
    ("8C3x1s", (6, 4, 1), ref.CONV2D, (3, 1), (1, 1), (1, 0), 1, ref.SIGNED, 0, (6, 4, 8)),
    ("DW3", (5, 5, 7), ref.DEPTHWISE, (3, 3), (1, 1), (1, 1), 1, ref.RELU, 0, (5, 5, 7)),
    ("DW5v/2s", (9, 9, 3), ref.DEPTHWISE, (5, 5), (2, 2), (0, 0), 1, ref.SIGNED, 0, (3, 3, 3)),
    ("DW3-MP2", (5, 5, 7), ref.DEPTHWISE, (3, 3), (1, 1), (1, 1), 2, ref.RELU, 0, (3, 3, 7)),
    ("MP2", (5, 6, 3), ref.MAX_POOL, (2, 2), (2, 2), (0, 0), 1, ref.NONE, 0, (2, 3, 3)),
    ("MP3/2", (7, 7, 3), ref.MAX_POOL, (3, 3), (2, 2), (0, 0), 1, ref.NONE, 0, (3, 3, 3)),
    ("MP1x4", (1, 16, 3), ref.MAX_POOL, (1, 4), (1, 4), (0, 0), 1, ref.NONE, 0, (1, 4, 3)),
    ("AP2", (4, 6, 3), ref.AVERAGE_POOL, (2, 2), (2, 2), (0, 0), 1, ref.NONE, 0, (2, 3, 3)),
    ("AP3/1", (4, 6, 3), ref.AVERAGE_POOL, (3, 3), (1, 1), (0, 0), 1, ref.NONE, 0, (2, 4, 3)),
    ("GAP", (4, 6, 3), ref.AVERAGE_POOL, (4, 6), (1, 1), (0, 0), 1, ref.NONE, 0, (1, 1, 3)),
    ("12FC", (2, 2, 3), ref.DENSE, (1, 1), (1, 1), (0, 0), 1, ref.RELU, 0, (1, 1, 12)),
    ("12FCs", (2, 2, 3), ref.DENSE, (1, 1), (1, 1), (0, 0), 1, ref.SIGNED, 0, (1, 1, 12)),
    ("+1", (2, 2, 3), ref.ADD, (1, 1), (1, 1), (0, 0), 1, ref.RELU, 1, (2, 2, 3)),
    ("+1s", (2, 2, 3), ref.ADD, (1, 1), (1, 1), (0, 0), 1, ref.SIGNED, 1, (2, 2, 3)),
]


@pytest.mark.parametrize("case", TOKENS, ids=[case[0] for case in TOKENS])
def test_layer_is_what_its_text_says(case: tuple) -> None:
    token, shape, kind, kernel, stride, padding, pool, activation, skip, output = case
    before = "{0}x{1}x{2} {2}C1s".format(*shape)  # something to add to
    net = network.parse(f"{before} {token} 4FC", 1)
    layer, at = net.layers[1], list(net.places())[1]
    got = (layer.kind, layer.kernel, layer.stride, layer.padding, layer.pool)
    assert got == (kind, kernel, stride, padding, pool)
    assert (layer.activation, layer.skip, at.output) == (activation, skip, output)
    assert layer.text == token
    model = ref.open_model(pack.blob(net, "n", CONFIG, 1, 0, []))
    assert model.layers[1].out_shape == output
    assert model.layers[1].fan_in == at.fan_in
    assert Core(pack.blob(net, "n", CONFIG, 1, 0, [])).info.classes == 4


@pytest.mark.parametrize(
    ("token", "bits"),
    [("6FC", (5, 12)), ("6FC:2", (2, 8)), ("6FC:8", (8, 16)), ("6FC:2/16", (2, 16)),
     ("6FC:8/8", (8, 8)), ("6FCs:3/9", (3, 9)), ("6C1-MP2:7/16", (7, 16)), ("DW1:4/8", (4, 8))],
)  # fmt: skip
def test_bits_of_a_layer(token: str, bits: tuple[int, int]) -> None:
    layer = network.parse(f"2x2x6 {token} 4FC", 1, bits=(5, 12)).layers[0]
    assert (layer.weight_bits, layer.store_bits) == bits


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "begin with the input and name layers"),
        ("8x8 10FC", "begin with the input and name layers"),
        ("0x8x1 10FC", "begin with the input and name layers"),
        ("8x8x1 C3 10FC", "'C3' is no layer: write 8C3,"),
        ("8x8x1 8D3 10FC", "'8D3' is no layer"),
        ("8x8x1 0FC", "'0FC' is no layer"),
        ("8x8x1 8C0 10FC", "'8C0' is no layer"),
        ("8x8x1 8C3/0 10FC", "'8C3/0' is no layer"),
        ("8x8x1 10FC-MP2", "'10FC-MP2' is no layer"),
        ("8x8x1 8C9v 10FC", "'8C9v' leaves nothing of its input"),
        ("8x8x1 8C4 10FC", "'8C4': an even kernel cannot keep the size: write 8C4v"),
        ("8x8x1 8C3", "'8C3' gives no classes: end with a layer of 2FC to 255FC"),
        ("8x8x1 300FC", "'300FC' gives no classes: end with a layer of 2FC to 255FC"),
        ("8x8x1 70000FC 10FC", "'70000FC' is too large: kernels to 255, sizes to 65535"),
        ("8x8x1 3DW3 10FC", "'3DW3' is no layer"),
        ("8x8x1 DW 10FC", "'DW' is no layer"),
        ("8x8x1 8FCv 10FC", "'8FCv' is no layer"),
        ("8x8x1 MP2s 10FC", "'MP2s' is no layer"),
        ("8x8x1 AP2:8 10FC", "'AP2:8' is no layer"),
        ("8x8x1 GAP2 10FC", "'GAP2' is no layer"),
        ("8x8x1 8C3 +1/2 10FC", "'+1/2' is no layer"),
        ("8x8x1 8C3 +1x1 10FC", "'+1x1' is no layer"),
        ("8x8x1 8C3-MP3 10FC", "'8C3-MP3' is no layer"),
        ("8x8x1 8C3: 10FC", "'8C3:' is no layer"),
        ("8x8x1 8C3:2/8/8 10FC", "'8C3:2/8/8': write bits in use / bits stored"),
        ("8x8x1 8C3:4 10FC", "'8C3:4' does not say how many bits are stored: write 4/16"),
        ("8x8x1 8C3:1/8 10FC", "'8C3:1/8': weights in use have 2 to 8 bits, not 1"),
        ("8x8x1 8C3:9/16 10FC", "'8C3:9/16': weights in use have 2 to 8 bits, not 9"),
        ("8x8x1 8C3:8/7 10FC", "'8C3:8/7': weights of 8 bits in use cannot be stored in 7"),
        ("8x8x1 8C3:8/17 10FC", "'8C3:8/17': weights are stored in 16 bits at most, not 17"),
        ("8x8x1 4C4/2 10FC", "'4C4/2': an even kernel cannot keep the size: write 4C4v/2"),
        ("8x8x1 8C3x2 10FC", "'8C3x2': an even kernel cannot keep the size: write 8C3x2v"),
        ("8x8x1 MP9 10FC", "'MP9' leaves nothing of its input"),
        ("8x8x1 4C3 8C3 +2 10FC", "'+2' adds 8x8x1 to 8x8x8: both must be alike"),
        ("8x8x1 8C3 +3 10FC", "'+3' goes below the input: there are 1 layers"),
        ("8x8x1 1C3s +1 +2 10FC", "'+2' adds what '+1' adds already: a tensor can be added once"),
        ("8x8x1 8C3 10FCs", "'10FCs': the last layer has no activation: leave out the s"),
        ("8x8x4 MP8", "'MP8' gives no classes"),
        ("1x1x4 4C1s +1", "'+1' gives no classes"),
        ("8x8x4 10C3", "'10C3' gives no classes"),
        ("8x8x4 GAP", "has no weights"),
        ("4x4x4 " + 33 * "4C1 " + "4FC", "34 layers are too many: at most 32"),
        ("300x300x1 GAP 2FC", "'GAP' is too large: kernels to 255"),
        ("1025x1025x1 2FC", "'2FC' is too large: 1,050,625 inputs a sample, at most 1,048,576"),
        ("512x512x1 8C3 4FC", "'8C3' is too large: 2,097,152 outputs a sample"),
        ("1x1x65535 60000FC 4FC", None),
        ("3x1x65535 2FC", "'2FC' is too large: 196,605 products in a sum (its fan-in)"),
        ("4x4x1 20000C3 GAP 2FC", "180,000 products in an error's sum (its fan-out)"),
        ("400x400x1 1C1 MP200 2FC", "'1C1' is too large: 160,000 positions in a gradient's sum"),
    ],
)
def test_bad_text_is_named(text: str, said: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    for init in (initial.FILLED, initial.PUBLISHED):  # limits come first, and no memory is taken
        monkeypatch.setattr(initial, init, lambda *_: np.zeros((0, 0), np.int16))
    if said is None:
        network.parse(text, 1)
        return
    with pytest.raises(ModelError) as caught:
        network.parse(text, 1)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_batch_bounds_the_positions() -> None:
    net = network.parse("32x32x1 2C1 GAP 2FC", 1)
    pack.check(net, Rules(batch=128))  # 131,072 exactly
    with pytest.raises(ModelError, match=r"'2C1' is too large: 132,096 positions in a .*batch 129"):
        pack.check(net, Rules(batch=129))


def test_last_layer_of_the_loss_sse_is_bounded() -> None:
    fits, larger = (network.parse(f"2x1x{n} 2FC", 1) for n in (65471, 65472))
    for net, fine in ((fits, True), (larger, False)):
        pack.check(net, Rules(sse=False))
        if fine:
            pack.check(net, Rules(sse=True))
        else:
            with pytest.raises(ModelError, match="'2FC' is too large for a last layer with the l"):
                pack.check(net, Rules(sse=True))
        blob = _blob_unchecked(net, Rules(sse=True))
        assert (_opens(blob) is None) == fine, _opens(blob)


def _blob_unchecked(net: Network, rules: Rules) -> bytes:
    """The blob without the host's own check: what the loader says of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pack, "check", lambda *_: None)
        return pack.blob(net, "n", CONFIG, 1, 0, [], rules)


def _opens(blob: bytes) -> str | None:
    try:
        ref.open_model(blob)
    except ref.RefusedError as refused:
        return refused.name
    return None


@pytest.mark.parametrize("rules", [Rules(batch=0), Rules(batch=4097), Rules(momentum=8)])
def test_rules_out_of_range(rules: Rules) -> None:
    with pytest.raises(ModelError, match=r"a batch has 1 to 4096|momentum is 1 to 7"):
        pack.check(network.parse("2x2x1 3FC", 1), rules)


def test_no_bias_under_the_papers_policy() -> None:
    net = network.parse("2x2x1 3FC", 1, bias=True)
    with pytest.raises(ModelError, match="the paper's policy trains no bias"):
        pack.blob(net, "n", CONFIG, 1, 0, [], Rules(paper=True))


# -- first weights ---------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seed", "expected"),
    [
        ("8x8x1 16C3-MP2 32C3-MP2 32FC 10FC", 1,
         [(1299488745, 0), (3008459879, 2), (734156213, 2), (3711455770, 1)]),
        ("9x7x2 5C3/2 4C3v-MP2:2 6FC:2 3FC", 4,
         [(2982218960, 1), (1476472229, 2), (1313810815, 0), (1093029549, 0)]),
    ],
)  # fmt: skip
def test_first_weights_are_those_of_the_first_version(
    text: str, seed: int, expected: list[tuple[int, int]]
) -> None:
    found = [
        (zlib.crc32(layer.weights.astype("<i2").tobytes()), layer.alpha_shift)
        for layer in network.parse(text, seed).layers
    ]
    assert found == expected


def test_draws_are_those_of_the_runtime() -> None:
    key = rng.key(7, 3, rng.STAGE_INIT)
    index = np.array([0, 1, 2, 1000, (1 << 32) - 1])
    bits = rng.draws(key, index)
    assert bits.tolist() == [lib.wage_draw(key, int(i)) for i in index]
    for count in (1, 3, 49153, (1 << 32) - 1):
        expected = [lib.wage_below(int(b), count) for b in bits]
        assert rng.below(bits, count).tolist() == expected


BITS = [(kw, kg) for kw in range(2, 9) for kg in range(kw, 17)]


def test_filled_weights_reach_three_quarters() -> None:
    for kw, kg in BITS:
        layer = network.parse("1x1x50 400FC 4FC", 3, bits=(kw, kg)).layers[0]
        w = layer.weights.astype(int)
        full = Fraction(1 << (kg - 1)) / (2 if kw == 2 else 1)  # 2-bit weights end at a half
        most = -(-full * 3 // 4)
        assert most <= (1 << (kg - 1)) - (1 << (kg - kw))
        for end in (w.max(), -w.min()):
            assert most - most // 1000 <= end <= most, (kw, kg)
        assert abs(w.mean()) < 0.05 * float(most) + 0.05
        assert layer.alpha_shift == round(np.log2(0.75 / (3 / 50) ** 0.5)) == 2
        assert layer.used(False).any()


@pytest.mark.parametrize("fan_in", [1, 7, 50, 800])
def test_published_weights_are_within_the_published_limit(fan_in: int) -> None:
    for bits in BITS:
        _check_published(fan_in, bits)


def _check_published(fan_in: int, bits: tuple[int, int]) -> None:
    kw, kg = bits
    layer = network.parse(f"1x1x{fan_in} 400FC 4FC", 3, bits=bits, init="published").layers[0]
    w, unit = layer.weights.astype(int), 1 << (kg - 1)
    if kw == 2:
        values, counts = np.unique(w, return_counts=True)
        assert values.tolist() == [-unit // 2, 0, unit // 2]
        assert np.all(np.abs(counts / w.size - 1 / 3) < 0.06)
    else:
        # w <= max(1.5 / 2^(kW-1), sqrt(3 / n)) in units of `unit`, as squares
        most = int(np.abs(w).max())
        bound = max(Fraction(3, 1 << kw) ** 2, Fraction(3, fan_in)) * unit**2
        edge = unit - (1 << (kg - kw))
        assert most**2 <= bound
        assert most == edge or (most + max(2, unit // 100)) ** 2 > bound
    wm, limit = 1.5 / (1 << (kw - 1)), (3 / fan_in) ** 0.5
    assert layer.alpha_shift == max(0, round(np.log2(wm / limit)))


def test_scales_of_vgg7_are_those_of_the_published_log() -> None:
    net = network.parse(zoo.text_of("vgg7"), 1, bits=(2, 8), paper=True)
    assert [1 << layer.alpha_shift for layer in net.layers] == [2, 16, 16, 16, 16, 32, 32, 16]


def test_each_layer_begins_as_its_policy_wants() -> None:
    text = "1x1x40 30FC:2 20FC:8/16 4FC:2"
    usual, paper = network.parse(text, 1), network.parse(text, 1, paper=True)
    assert set(np.unique(paper.layers[0].weights)) == {-64, 0, 64}
    assert len(np.unique(usual.layers[0].weights)) == 97
    assert np.array_equal(paper.layers[1].weights, usual.layers[1].weights)
    assert network.parse(text, 1, paper=True, init="filled").layers[0].weights.max() == 48
    assert not np.array_equal(usual.layers[0].weights, network.parse(text, 2).layers[0].weights)


def test_average_is_the_nearest_reciprocal() -> None:
    for size in {a * b for a in range(1, 256) for b in (1, 2, 3, a)}:
        shift, factor = network._reciprocal(size)
        assert 0 < factor < 1 << 15
        assert size * factor < 1 << 24
        assert abs(factor - Fraction(1 << shift, size)) <= Fraction(1, 2)
        assert factor >= 1 << 14 or shift == 24 or size * 2 * factor > (1 << 24) - size


def test_warning_without_a_buffer_of_bits() -> None:
    assert network.warnings(network.parse("2x2x1 3FC:8/9 3FC:2", 1)) == []
    (line,) = network.warnings(network.parse("2x2x1 3FC:8/8 3FC:2/2", 1))
    assert "3FC:8/8, 3FC:2/2" in line
