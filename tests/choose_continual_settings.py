"""How the continual policy's defaults were chosen: one setting at a time, on held-out samples.

python tests/choose_continual_settings.py      writes docs/continual-settings.md and .json

Fashion-MNIST (training part only; 6,000 of its samples are held out to measure): a network
learns five classes on the host, then 1,500 samples of the other five arrive one by one, each
followed by replayed ones. All layers go on learning. The test part is never read.
"""

# SPDX-License-Identifier: MIT

import dataclasses
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
from wage_host import data, datasets, network, pack, train
from wage_host.core import Config, Core
from wage_host.data import Data

OUT = Path(__file__).parents[1] / "docs" / "continual-settings"
NETWORK = "28x28x1 8C3-MP2 16C3-MP2 64FC 10FC"
SEEDS = range(5)
OLD, KNOWN, NEW, HELD_OUT, REPLAY = range(5), 12000, 1500, 6000, 200


@dataclasses.dataclass(frozen=True)
class Way:
    """One row: what differs from the base."""

    lr_shift: int = -5
    gain_shift: int = 2
    threshold: int = 0
    replays: int = 3
    momentum: int = 0
    batch: int = 1
    bias: bool = False
    bits: str = "8/16"
    pretrain_lr: int = -3

    def title(self) -> str:
        """The difference in words."""
        default = Way()
        pairs = dataclasses.asdict(self).items()
        found = [f"{k} {v}" for k, v in pairs if v != getattr(default, k)]
        return ", ".join(found) or "base"


def ways() -> Iterator[Way]:
    """All rows."""
    yield Way()
    for lr in (-2, -3, -4, -6, -7, -8):
        yield Way(lr_shift=lr)
    for gain in (0, 1, 3, 4):
        yield Way(gain_shift=gain)
    for threshold in (4, 8, 16, 32, 64):
        yield Way(threshold=threshold)
    for momentum, lr in ((2, -7), (3, -8), (3, -7), (4, -9)):
        yield Way(momentum=momentum, lr_shift=lr)
    yield Way(bias=True)
    for batch, lr in ((4, -5), (4, -6), (4, -7)):
        yield Way(batch=batch, lr_shift=lr)
    for bits in ("2/8", "2/16", "4/16"):
        yield Way(bits=bits)
    for lr in (-2, -4, -5, -6):
        yield Way(pretrain_lr=lr)


@cache
def arrays() -> tuple[np.ndarray, np.ndarray]:
    """The training part: pixels and labels."""
    return datasets.named("fashion-mnist", "train")


def parts(seed: int) -> tuple[Data, Data, Data]:
    """Old samples to begin with, new ones that arrive, held-out ones of all classes."""
    x, labels = arrays()
    order = np.random.default_rng(seed).permutation(len(labels))
    held, rest = order[:HELD_OUT], order[HELD_OUT:]
    old = rest[np.isin(labels[rest], OLD)][:KNOWN]
    new = rest[~np.isin(labels[rest], OLD)][:NEW]
    return tuple(Data("Fashion-MNIST", x[i], labels[i]) for i in (old, new, held))


@cache
def begun(seed: int, bias: bool, bits: str, lr: int) -> network.Network:
    """A network that knows the old classes."""
    old, _, _ = parts(seed)
    in_use, stored = map(int, bits.split("/"))
    net = network.parse(NETWORK, seed, bits=(in_use, stored), bias=bias)
    config = Config(seed, lr, 0, 2, 0)
    rates = tuple((1, lr - drop) for drop in (0, 1, 2))
    return train.run(net, old, train.How(config, rates, free_classes=5))[0]


def measure(way: Way, seed: int) -> dict[str, float]:
    """Accuracies in % on held-out samples after the new ones arrived."""
    old, new, held = parts(seed)
    net = begun(seed, way.bias, way.bits, way.pretrain_lr)
    config = Config(seed, way.lr_shift, way.replays, way.gain_shift, way.threshold)
    rules = pack.Rules(batch=way.batch, momentum=way.momentum)
    core_info = net.info()
    known = data.samples(old, core_info)
    core = Core(train.convert(net, "way", config, len(net.weighted), REPLAY, known, rules))
    core.start(1, config)
    skipped = sum(record.skipped for record in core.learn(data.samples(new, core_info)))
    x = data.activations(held.x, net.input_map)
    right = core.predict(x, held.labels)["prediction"] == held.labels
    is_old = np.isin(held.labels, OLD)
    return {
        "all": 100 * right.mean(),
        "old": 100 * right[is_old].mean(),
        "new": 100 * right[~is_old].mean(),
        "skipped": 100 * skipped / len(new),
    }


def table(rows: dict[str, dict[str, list[float]]]) -> str:
    """All rows as Markdown."""
    lines = [
        "# How the continual policy's defaults were chosen",
        "",
        f"`{NETWORK}` learned five classes of Fashion-MNIST ({KNOWN:,} samples), then {NEW:,} of",
        "the other five arrived, each followed by replayed ones; all layers learn. Base: rate",
        f"2^-5, gain_shift 2, threshold 0, 3 replays out of a replay of {REPLAY}, batch 1, no",
        "momentum, no bias, 8 bits in use and 16 stored, trained before at 2^-3. Each other row",
        f"differs in what it says. Accuracy in % on {HELD_OUT:,} samples held out of the training",
        f"part, mean and standard deviation of {len(SEEDS)} seeds; *skipped*: share of new samples",
        "below the threshold (host, `python tests/choose_continual_settings.py`; the test part",
        "was never read).",
        "",
        "| | all ten | old | new | skipped |",
        "|---|---|---|---|---|",
    ]
    for title, found in rows.items():
        cells = [f"{mean:.1f} ± {sd:.1f}" for mean, sd in found.values()]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measures what is not in the JSON yet, and writes both files."""
    path = OUT.with_suffix(".json")
    rows = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for way in ways():
        if way.title() in rows:
            continue
        found = [measure(way, seed) for seed in SEEDS]
        rows[way.title()] = {
            key: [round(float(np.mean(v)), 2), round(float(np.std(v, ddof=1)), 2)]
            for key in found[0]
            for v in [[one[key] for one in found]]
        }
        print(way.title(), rows[way.title()], flush=True)
        path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    OUT.with_suffix(".md").write_text(table(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
