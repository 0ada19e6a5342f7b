"""Networks with a name: the paper's, and some that fit a microcontroller."""

import dataclasses

import numpy as np

from wage_host import network


@dataclasses.dataclass(frozen=True)
class Named:
    """A network in the notation of network.parse(), and what it is for."""

    text: str
    purpose: str


NETWORKS = {
    "lenet": Named("28x28x1 32C5v-MP2 64C5v-MP2 512FC 10FC", "the paper's, MNIST"),
    "vgg7": Named(
        "32x32x3 128C3 128C3-MP2 256C3 256C3-MP2 512C3 512C3-MP2 1024FC 10FC",
        "the paper's, CIFAR-10 and SVHN",
    ),
    "mlp": Named("28x28x1 64FC 32FC 10FC", "pictures of 28x28, dense layers alone"),
    "cnn": Named("28x28x1 16C3-MP2 32C3-MP2 32C3-MP2 10FC", "pictures of 28x28"),
    "separable": Named(
        "32x32x3 16C3/2 DW3 32C1 DW3/2 64C1 DW3 64C1 GAP 10FC", "small coloured pictures"
    ),
    "sensor": Named(
        "1x128x6 16C1x9v/2 32C1x5v/2 32C1x3 GAP 6FC", "windows of 128 samples of 6 axes"
    ),
    "residual": Named(
        "32x32x3 16C3 16C3 16C3s +2 32C3/2 32C3 32C3s +2 64C3/2 64C3 64C3s +2 GAP 10FC",
        "small coloured pictures, with skips",
    ),
}


def text_of(name: str) -> str:
    """The network of this name; else `name` itself, which then describes one."""
    return NETWORKS[name].text if name in NETWORKS else name


def table() -> list[dict[str, str | int]]:
    """Name, weights, multiplications a sample, text and purpose of each."""
    rows = []
    for name, named in NETWORKS.items():
        net = network.parse(named.text, 1)
        macs = sum(at.macs for at in net.places())
        weights = int(np.sum([layer.weights.size for layer in net.layers]))
        row = {"name": name, "weights": weights, "macs": macs, "network": named.text}
        rows.append({**row, "for": named.purpose})
    return rows
