"""The workloads by which WAGE is compared: small networks that learn the package's digits.

W1 is a net of dense layers, W2 one of convolutions; each in the int16 store and, as in the
paper, ternary in use over 8 bits. Always the same bits.
"""

# SPDX-License-Identifier: MIT

from wage_host import demo, network, pack
from wage_host.core import Config, Sample

SEED = 1
TEXTS = {"W1": "8x8x1 32FC{0} 10FC{0}", "W2": "8x8x1 8C3-MP2{0} 16C3-MP2{0} 10FC{0}"}
STORES = {"": ":8/16", " ternary": ":2/8"}
NAMES = [name + store for name in TEXTS for store in STORES]
REPLAY, REPLAYS = 8, 1  # samples kept, and of them replayed after each new one
STEPS = 1 + REPLAYS  # of training, for a sample learned


def blob(name: str) -> bytes:
    """The model, as it was born: it learns all ten digits on the board."""
    net = network.parse(TEXTS[name[:2]].format(STORES[name[2:]]), SEED)
    config = Config(seed=SEED, lr_shift=-3, replays=REPLAYS, gain_shift=2, threshold=0)
    return pack.blob(net, name, config, len(net.weighted), REPLAY, [])


def samples(count: int) -> list[Sample]:
    """The first digits, 0..127 as the model takes them."""
    x, labels = demo.digits()
    return [(x[k] >> 1, int(labels[k])) for k in range(count)]
