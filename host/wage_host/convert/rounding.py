"""Which whole weights keep a layer's sums, given what the layers below make of its inputs.

The weights that fit the sums best (least squares, drawn towards the given ones), rounded one input
after the other, each error made good by the inputs that are still to come (as in OBQ and GPTQ).
"""

from __future__ import annotations

import numpy as np

from wage_host.convert import floats
from wage_host.convert.fold import Block
from wage_host.convert.graph import DENSE, DEPTHWISE

ROWS = 16384  # places that are looked at
FAN_IN_MAX = 2048  # above, weights are rounded to the nearest: the fit takes its third power
DRAWN = 0.02  # towards the given weights, of the mean square of an input
MORE = 4  # places for each input of a sum, at least, else there is too little to fit


def places(block: Block, a: np.ndarray) -> np.ndarray:
    """Inputs of the sums, (places, fan-in), for depthwise (places, kernel, channels)."""
    if block.op == DENSE:
        return a.reshape(len(a), -1)
    a = floats.padded(a, block.padding)
    seen = list(floats.windows(a, block.kernel, block.stride, block.sums))
    if block.op == DEPTHWISE:
        return np.stack(seen, 3).reshape(-1, len(seen), a.shape[3])
    return np.concatenate(seen, 3).reshape(-1, len(seen) * a.shape[3])


def _chosen(block: Block, exact: np.ndarray, whole: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Some places of both, the same."""
    draws, pairs = np.random.default_rng(1), []
    share = max(1, ROWS * floats.SAMPLES // len(exact))
    for at in range(0, len(exact), floats.SAMPLES):
        some = slice(at, at + floats.SAMPLES)
        pair = [places(block, a[some].astype(np.float32)) for a in (exact, whole)]
        if len(pair[0]) > share:
            kept = draws.choice(len(pair[0]), share, replace=False)
            pair = [part[kept] for part in pair]
        pairs.append(pair)
    one, other = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    return one, other


def fitted(
    block: Block, exact: np.ndarray, whole: np.ndarray, given: np.ndarray, unit: np.ndarray
) -> np.ndarray:
    """Whole weights (out, fan-in) in floats, not cut to 8 bits.

    exact, whole: the layer's inputs (n, h, w, c) in floats and in whole numbers; given: its
    weights (out, fan-in) in `unit` (out) for whole inputs.
    """
    if given.shape[1] > FAN_IN_MAX:
        return np.rint(given)
    a, b = _chosen(block, exact, whole)
    w = block.weights.reshape(len(unit), -1) / unit[:, None]
    if block.op == DEPTHWISE:
        return np.concatenate([
            _fit(a[:, :, c] @ w[c : c + 1].T, b[:, :, c], given[c : c + 1]) for c in range(len(w))
        ])  # fmt: skip
    return _fit(a @ w.T.astype(np.float32), b, given)


def _fit(sums: np.ndarray, a: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Whole weights for which a @ w is nearest to sums, but for a constant that a bias takes."""
    a = a - a.mean(0, dtype=np.float64).astype(np.float32)
    square = (a.T @ a).astype(np.float64)
    drawn = DRAWN * max(float(np.trace(square)) / len(square), 1e-9)
    square[np.diag_indices(len(square))] += drawn
    if len(a) >= MORE * len(square):
        met = (a.T @ (sums - sums.mean(0))).astype(np.float64)
        w = np.linalg.solve(square, met + drawn * given.T).T
    else:
        w = given.astype(np.float64).copy()
    after = np.linalg.cholesky(np.linalg.inv(square)).T
    for k in range(len(square)):
        rounded = np.rint(w[:, k])
        w[:, k + 1 :] -= np.outer((w[:, k] - rounded) / after[k, k], after[k, k + 1 :])
        w[:, k] = rounded
    return w
