"""A last layer that holds the mean of each class, for a model that learns by them (SPEC 5.6)."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from wage_host import initial, pack
from wage_host._core import lib
from wage_host.core import Config, Core, Sample
from wage_host.errors import ModelError
from wage_host.layers import Network

UNSEEN = -lib.WAGE_BIAS_MAX  # the bias of a class without a sample: it is never predicted
MEAN_MAX = 127 * 256  # of a stored weight


def check(net: Network, train_last: int) -> None:
    """Raises ModelError when the network has no place for class means."""
    last, fan_in = net.layers[-1], [*net.places()][-1].fan_in
    if last.kind != lib.WAGE_DENSE or train_last != 1:
        raise ModelError("class means take the place of a last dense layer, with --train-last 1")
    if fan_in > lib.WAGE_MEAN_MAX:
        raise ModelError(
            f"class means are of {lib.WAGE_MEAN_MAX} inputs at most, and '{last.text}' has "
            f"{fan_in}: pool more before it"
        )


def head(net: Network, train_last: int, samples: Sequence[Sample]) -> Network:
    """The network with the means of these samples, at the input of its last layer, for weights."""
    check(net, train_last)
    last, fan_in = net.layers[-1], [*net.places()][-1].fan_in
    front = Core(pack.blob(net, "front", Config(1, 0, 0, 2, 0), 1, 0, []))
    sums, counts = np.zeros((last.out, fan_in)), np.zeros(last.out, int)
    for x, label in samples:
        sums[label] += np.frombuffer(front.latent(x), np.int8)
        counts[label] += 1
    means = np.rint(256 * sums / np.maximum(counts, 1)[:, None])
    weights = np.clip(means, -MEAN_MAX, MEAN_MAX).astype(np.int16)
    made = dataclasses.replace(
        last, weight_bits=8, store_bits=16, alpha_shift=initial.alpha_shift(fan_in),
        weights=weights,
    )  # fmt: skip
    squares = (made.used(False).astype(np.int64) ** 2).sum(1)
    bias = np.where(counts > 0, -(squares // 2), UNSEEN).astype(np.int32)
    made = dataclasses.replace(made, bias=bias)
    return dataclasses.replace(net, layers=(*net.layers[:-1], made))
