"""The oracle's errors, masks and updates (SPEC 4, 5): small cases done by hand."""

# SPDX-License-Identifier: MIT

from dataclasses import replace

import numpy as np
import reference as ref
from blobs import PAPER, SSE, add, dense, make_blob


def one_layer(w: list[int], settings: dict, **fields: object) -> ref.Model:
    """A dense layer of two outputs and one or more inputs."""
    layer = dense(2, weights=w, **({"flags": 1} | fields))
    return ref.open_model(make_blob([layer], (1, 1, len(w) // 2), header=settings))


def test_paper_error_of_the_last_layer_and_its_exponent() -> None:
    model = one_layer([64, 0], {"flags": PAPER | SSE}, bits=2)  # q 1, 0; H = 1
    x = ref.train(model, [(np.array([100]), 1)]).passes[0]
    assert x.out.reshape(-1).tolist() == [100, 0]  # a label is 2^(7+1)
    assert x.e.reshape(-1).tolist() == [100, -256] and x.n == 8
    assert x.d.reshape(-1).tolist() == [50, -127]
    of = ref.Pass(model.layers[-1], x.a, x.z, x.winner, x.out)
    assert ref.steps.last_error(model, of, x.e) == 8 - 8  # n - U
    model.sse = False
    assert ref.steps.last_error(model, of, np.array([[5000, -5000]])) == 12 - 14
    assert of.d.reshape(-1).tolist() == [127, -127]  # 5000 / 32 is above
    assert ref.steps.last_error(model, of, np.array([[0, 0]])) == 0 and not of.d.any()


def test_continual_sse_has_a_fixed_exponent() -> None:
    model = one_layer([64, 0], {"flags": SSE}, bits=2)
    x = ref.train(model, [(np.array([100]), 1)]).passes[0]
    assert x.d.reshape(-1).tolist() == [50, -127]  # halves of 100 and -256
    x = ref.train(model, [(np.array([5]), 0)]).passes[0]
    assert x.e.reshape(-1)[1] == 0 and x.d.reshape(-1)[0] == -126  # 5 - 256 = -251: -125.5


def test_error_of_a_batch_has_one_largest() -> None:
    model = one_layer([64, 0], {"flags": PAPER | SSE, "batch": 2}, bits=2)
    step = ref.train(model, [(np.array([100]), 1), (np.array([0]), 0)])
    assert step.passes[0].n == 8
    assert step.passes[0].d.reshape(-1).tolist() == [50, -127, -127, 0]
    assert step.passes[0].g.tolist() == [[5000], [-12700]]  # of both samples
    for o, labels, want in (
        ([[100, 0], [0, 0]], [1, 0], [50, -127, -127, 0]),
        ([[256, 2], [256, 0]], [0, 0], [0, 127, 0, 0]),
    ):
        e = np.array([ref.output_error(np.array(v), c, 1, 0, True)[0] for v, c in
                      zip(o, labels, strict=True)])  # fmt: skip
        assert ref.quantise_error(e)[0].reshape(-1).tolist() == want


def test_softmax_is_of_one_sample_at_a_time() -> None:
    model = one_layer([64, 0], {"batch": 2, "gain_shift": 7}, bits=2)
    step = ref.train(model, [(np.array([127]), 0), (np.array([0]), 0)])
    assert step.p_labels == [16384, 8192] and step.predictions == [0, 0]


def test_masks_of_the_paper_are_taken_in_the_published_order() -> None:
    layers = [dense(4, bits=2, flags=1, weights=[64, 64, 64, 64, 64, 64, -64, -64]),
              dense(2, bits=2, flags=1, weights=[64, 64, 64, 64, 0, 0, 0, 64])]  # fmt: skip
    model = ref.open_model(make_blob(layers, (1, 1, 2), header={"flags": PAPER | SSE}))
    hidden, last = ref.train(model, [(np.array([127, 127]), 1)]).passes
    assert hidden.z.reshape(-1).tolist() == [254, 254, 254, -254]
    assert hidden.out.reshape(-1).tolist() == [127, 127, 127, 0]  # 254 is 127 * 2^H: not above
    assert last.e.reshape(-1).tolist() == [381, -256] and last.d.reshape(-1).tolist() == [95, -64]
    assert hidden.ein.reshape(-1).tolist() == [95, 95, 95, 31]
    assert not ref.saturated(hidden.layer, hidden.z).any()
    assert hidden.n == 7 and hidden.dq.reshape(-1).tolist() == [95, 95, 95, 31]
    assert hidden.d.reshape(-1).tolist() == [95, 95, 95, 0]
    x = np.array([127, 127, 127, 127]).reshape(1, 1, 4)
    layer = replace(hidden.layer, in_shape=(1, 1, 4))
    assert ref.saturated(layer, np.array([254, 255, -255])).tolist() == [False, True, False]
    assert ref.opened(layer, np.array([0, 1, -1])).tolist() == [False, True, False]
    signed = replace(layer, activation=ref.SIGNED)
    assert ref.saturated(signed, np.array([-254, -255, 255])).tolist() == [False, True, True]
    assert ref.opened(signed, x).all()


def test_largest_error_counts_before_relu_and_after_saturation() -> None:
    layers = [dense(3, bits=2, flags=1, weights=[64, -64, 64, 64, 0, 0], alpha_shift=0),
              dense(2, bits=2, flags=1, weights=[0, 0, 0, 64, 64, 64])]  # fmt: skip
    blob = make_blob(layers, (1, 1, 2), header={"flags": PAPER | SSE})
    model = ref.open_model(blob)
    layer, e = model.layers[0], np.array([10, 1000, 300]).reshape(1, 1, 1, 3)
    z = np.array([20, 5000, -4]).reshape(e.shape)
    below = ref.Pass(layer, e, z, [None], ref.activate(layer, z))
    at = ref.Pass(model.layers[1], below.out, z, [None], z, d=np.zeros((1, 1, 1, 2), np.int64))
    assert ref.steps.lower_error(at, below, 0, {1: (e, 4)}) == 4 + 8 - 7
    assert below.e.reshape(-1).tolist() == [10, 0, 300] and below.n == 8
    assert below.dq.reshape(-1).tolist() == [5, 0, 127]
    assert below.d.reshape(-1).tolist() == [5, 0, 0]


def test_masks_of_the_continual_policy_follow_the_activation() -> None:
    layer = ref.Layer(ref.DENSE, 0, 8, True, 0, (1, 1, 1), 1, (1, 1), (1, 1), (0,) * 4, 1)
    a, z = np.array([-127, -126, -1, 0, 1, 126, 127]), np.array([0, 0, 0, 0, 0, 0, 1 << 20])
    assert ref.blocked(layer, z, a).tolist() == [True] * 4 + [False] * 2 + [True]
    signed = replace(layer, activation=ref.SIGNED)
    assert ref.blocked(signed, z, a).tolist() == [True] + [False] * 5 + [True]
    for kind in (ref.AVERAGE_POOL, ref.MAX_POOL):
        for paper in (False, True):
            pool = replace(layer, kind=kind, activation=ref.NONE, paper=paper)
            assert not ref.blocked(pool, z, a).any() and ref.opened(pool, -z).all()
    paper = replace(layer, paper=True)
    assert ref.blocked(paper, z, a).tolist() == [False] * 6 + [True]


def test_skip_of_an_add_is_aligned_in_all_three_ways() -> None:
    e, d_s = np.array([100, -3, 0]), np.array([127, -6, 5])

    def joined(t: int, e: np.ndarray = e) -> tuple[list[int], int]:
        found, y = ref.steps.join(e, 10, (d_s, 10 + t))
        return found.tolist(), y

    assert joined(0) == ([227, -9, 5], 10)
    assert joined(3) == ([100 + 1016, -3 - 48, 40], 10)
    assert joined(-1) == ([164, -6, 2], 10)  # 63.5 and 2.5 to the even number
    assert joined(-8) == ([100, -3, 0], 10) and joined(-40) == ([100, -3, 0], 10)
    assert joined(16) == ([100 + (127 << 16), -3 - (6 << 16), 5 << 16], 10)
    assert joined(17) == ([50 + (127 << 16), -2 - (6 << 16), 5 << 16], 11)  # -1.5 to -2
    assert joined(50) == ([127 << 16, -(6 << 16), 5 << 16], 41)
    assert joined(17, e=np.zeros(3)) == (d_s.tolist(), 27)


def test_add_sends_its_error_both_ways_unless_nothing_waits() -> None:
    layers = [dense(2, flags=1, weights=[8192, 0, 0, 8192]),
              dense(2, flags=1, weights=[0, 0, 0, 0]),
              add(2, 1, flags=1), dense(2, flags=1, weights=[8192, 0, 0, 8192])]  # fmt: skip
    model = ref.open_model(make_blob(layers, (1, 1, 2), header={"flags": SSE, "batch": 1}))
    passes = ref.train(model, [(np.array([64, 64]), 0)]).passes
    assert [p.out.reshape(-1).tolist() for p in passes] == [[16, 16], [0, 0], [16, 16], [512, 512]]
    last = passes[3].d.reshape(-1)
    assert last.tolist() == [-124, 4]
    assert passes[2].ein.reshape(-1).tolist() == [32 * int(v) for v in last]
    assert passes[2].d.reshape(-1).tolist() == [-124, 4]
    assert passes[1].d.reshape(-1).tolist() == [0, 0]  # ReLU is closed, but the skip still waits
    assert passes[1].g is not None and not passes[1].g.any()
    assert passes[0].ein.reshape(-1).tolist() == [-124, 4]
    assert passes[0].d.reshape(-1).tolist() == [-124, 4] and passes[0].g.any()


def test_step_ends_early_where_only_the_latent_is_a_skip() -> None:
    layers = [dense(2, flags=1, weights=[8192, 0, 0, 0]), dense(2, flags=1, weights=[0] * 4),
              add(2, 2, flags=1), dense(2, flags=1, weights=[8192, 0, 0, 8192])]  # fmt: skip
    model = ref.open_model(make_blob(layers, (1, 1, 2), header={"momentum": 1, "lr_shift": 7}))
    model.layers[0].v[:] = 64
    before = model.layers[0].w.copy()
    passes = ref.train(model, [(np.array([64, 64]), 0)]).passes
    assert passes[2].d.any() and not passes[1].d.any()
    assert passes[1].g is None and passes[0].g is None
    np.testing.assert_array_equal(model.layers[0].w, before)
    assert (model.layers[0].v == 64).all() and (model.layers[1].v == 0).all()


def test_update_with_factor_momentum_and_limits() -> None:
    layer = ref.Layer(ref.DENSE, 0, 8, True, 0, (1, 1, 4), 1, (1, 1), (1, 1), (0,) * 4, 1)
    layer.w, layer.v = np.array([[0, 0, 32500, -32500]]), np.array([[100, -100, -9, 32760]])
    g = np.array([[8, -8, 0, 400]])
    rate = ref.Rate(n=1, factor=3, momentum=1, key=1, leak_key=2)
    r = [ref.fraction(2, i) for i in range(4)]
    # 9 halved is 4.5: rounded at random; the others are even
    leak = [50, -50, -((9 + (r[2] >> 15)) >> 1), 16380]
    want = [100 - 50 + 12, -100 + 50 - 12, -9 - leak[2], 32760 - 16380 + 600]
    ref.update(layer, g, rate)
    assert layer.v.tolist() == [want]
    assert layer.w.tolist() == [[-want[0], -want[1], 32500 - want[2], -32512]]
    layer.v = np.array([[32700, -32700, 0, 0]])
    ref.update(layer, np.array([[1 << 30, -(1 << 30), 0, 0]]), replace(rate, n=0, momentum=7))
    assert layer.v.tolist() == [[32767, -32767, 0, 0]]
    plain = replace(rate, momentum=0, n=0)
    layer.w = np.array([[5, 5, 5, 5]])
    ref.update(layer, np.array([[1, -1, 0, 1 << 31]]), plain)
    assert layer.w.tolist() == [[2, 8, 5, -32512]]
    kept = ref.steps.moves(np.array([1 << 31]), replace(plain, factor=15), 16)
    assert kept.tolist() in ([32767], [32768])  # the product stops at 2^31 - 1


def test_frozen_exponents_of_the_update() -> None:
    """n = 7 - x - lr_shift - F: a gradient of 2^14 is one, whatever the widths."""
    for store_bits in (8, 9, 12, 16):
        model = one_layer([0, 0], {"lr_shift": -3, "flags": SSE, "lr_factor": 3}, bits=8,
                          store_bits=store_bits, alpha_shift=0)  # fmt: skip
        of = ref.train(model, [(np.array([64]), 0)]).passes[0]
        assert of.d.reshape(-1).tolist() == [-127, 0] and of.g.tolist() == [[-127 * 64], [0]]
        n = 7 + 3 - (store_bits - 8)
        low, rest = divmod(127 * 64 * 3, 1 << n) if n > 0 else ((127 * 64 * 3) << -n, 0)
        limit = model.layers[0].limit
        assert model.layers[0].w[0, 0] in {min(limit, low), min(limit, low + bool(rest))}


def test_trainable_bias_moves_as_its_unit_says() -> None:
    for bits in (2, 5, 8):
        settings = {"lr_shift": -4, "flags": SSE, "batch": 2}
        model = one_layer([0, 0], settings, bits=bits, bias=[0, 7], flags=3)
        samples = [(np.array([0]), 0), (np.array([0]), 1)]
        of = ref.train(model, samples).passes[0]
        d = of.d.reshape(2, 2)
        n = 1 - bits + 4  # x = 0
        key = ref.key(model.config.seed, 0, 1)
        want = []
        for o, b in ((0, 0), (1, 7)):
            total = int(d[:, o].sum())
            step = ref.stochastic_shift(abs(total), n, ref.fraction(key, 2 + o))
            want.append(b + step if total < 0 else b - step)
        assert model.layers[0].bias.tolist() == want
    model.layers[0].bias = np.array([16777215, -16777215])
    rate = ref.Rate(0, 1, 0, 1, 2)
    ref.update_bias(model.layers[0], np.array([-5, 5]), 0, rate)
    assert model.layers[0].bias.tolist() == [16777215, -16777215]


def test_frozen_bias_stays_and_shifts_the_sums() -> None:
    layers = [dense(2, bits=3, weights=[1, -3], flags=2, bias=[40, -(1 << 24) + 1]),
              dense(2, flags=1, weights=[99, 0, 0, 9])]  # fmt: skip
    model = ref.open_model(make_blob(layers, (1, 1, 1), header={"flags": PAPER, "lr_shift": 7}))
    z, _ = ref.forward(model.layers[0], np.array([[[10]]]))
    assert z.reshape(-1).tolist() == [50, -(1 << 24) - 29]
    ref.train(model, [(np.array([10]), 0)])
    assert model.layers[0].bias.tolist() == [40, 1 - (1 << 24)]


def test_paper_without_a_gradient_changes_nothing_not_even_momentum() -> None:
    settings = {"flags": PAPER, "momentum": 1, "lr_shift": 3}
    model = one_layer([100, -100], settings)
    model.layers[0].v[:] = 50
    ref.train(model, [(np.array([0]), 0)])  # an error, no input
    assert (model.layers[0].v == 50).all() and model.layers[0].w.tolist() == [[100], [-100]]
    model = one_layer([100, -100], settings | {"flags": 0})
    model.layers[0].v[:] = 50
    ref.train(model, [(np.array([0]), 0)])  # continual: the momentum goes on
    assert (model.layers[0].v == 25).all() and model.layers[0].w.tolist() == [[75], [-125]]
