"""What a model is beside its layers, which exports carry and the command line overrides."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from wage_host._core import lib
from wage_host.core import Config
from wage_host.errors import ModelError
from wage_host.pack import Rules
from wage_host.train import REPLAY_MAX
from wage_host.unpack import Unpacked

EXPORT_FORMAT = 2
NAME_BYTES_MAX = 15
CONFIG = ("seed", "replays", "gain_shift", "threshold")  # options, too
RANGES = {  # of what a blob has room for (SPEC 9.1), by the name of the option
    "seed": (0, 2**32 - 1), "lr_shift": (-24, 7), "lr_factor": (1, 15), "replays": (0, 255),
    "gain_shift": (0, 7), "threshold": (0, 127), "batch": (1, lib.WAGE_BATCH_MAX),
    "momentum": (0, lib.WAGE_MOMENTUM_MAX),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Settings:
    """By what a model learns, and what it keeps; what is written here is used where nobody says.

    name: None: the output's; train_last: how many layers with weights learn; biases: of these only
    the biases; replay: samples that it can hold, or bytes.
    """

    name: str | None = None
    config: Config = dataclasses.field(default_factory=lambda: Config(1, -5, 3, 2, 0))
    rules: Rules = dataclasses.field(default_factory=Rules)
    train_last: int = 1
    biases: bool = False
    replay: int = 0
    replay_in_bytes: bool = False


def fields(up: Unpacked) -> dict[str, Any]:
    """Those of a blob in JSON's types."""
    learn = [k for k in up.network.weighted if k >= up.first]
    return {
        "wage_export": EXPORT_FORMAT,
        "name": up.name,
        **dataclasses.asdict(up.config),
        **dataclasses.asdict(up.rules),
        "train_last": up.train_last,
        "biases": all(up.network.layers[k].fixed for k in learn),
        "replay": up.replay_capacity,
    }


def of(told: dict[str, Any]) -> Settings:
    """What fields() wrote; ValueError, TypeError or KeyError for what no blob could carry."""
    for name, (low, high) in (RANGES | {"train_last": (1, 32), "replay": (0, REPLAY_MAX)}).items():
        if type(told[name]) is not int or not low <= told[name] <= high:
            raise ValueError(f"no such {name}")
    config = Config(**{f.name: told[f.name] for f in dataclasses.fields(Config)})
    rules = Rules(**{f.name: told[f.name] for f in dataclasses.fields(Rules)})
    flags = (rules.paper, rules.sse, rules.inputs, rules.means, rules.table, told["biases"])
    if not all(type(flag) is bool for flag in flags):
        raise ValueError("no such flag")
    if len(told["name"].encode()) > NAME_BYTES_MAX or "\0" in told["name"]:
        raise ValueError("no such name")
    return Settings(
        told["name"] or None, config, rules, told["train_last"], told["biases"], told["replay"]
    )


def merged(told: Settings, given: dict[str, Any], policy: Rules) -> Settings:
    """What a file says where the command line says nothing: there an option is None.

    Who says anew what learns (train_last, train, until) says anew whether only biases do; class
    means have no replay; what a replay keeps goes with it.
    """

    def wanted(name: str, before: Any) -> Any:
        return before if given[name] is None else given[name]

    config = dataclasses.replace(
        told.config, **{name: wanted(name, getattr(told.config, name)) for name in CONFIG}
    )
    if given["lr"]:
        config = dataclasses.replace(config, lr_factor=given["lr"][0], lr_shift=given["lr"][1])
    means = wanted("means", told.rules.means)
    anew = given["train_last"] is not None or given["train"] or given["until"]
    biases = wanted("biases", told.biases and not anew and not given["means"])
    replay, of_bytes = given["replay"] or (0 if given["means"] else told.replay, False)
    inputs = wanted("inputs", told.rules.inputs and replay > 0)
    table = wanted("table", told.rules.table or given["room"] is not None)
    rules = dataclasses.replace(policy, means=means, inputs=inputs, table=table)
    return Settings(
        wanted("name", told.name), config, rules, told.train_last, biases, replay, of_bytes
    )


def check_version(path: Path, told: Any) -> None:
    """ModelError when another version of wage-host exported it."""
    if told["wage_export"] != EXPORT_FORMAT:
        raise ModelError(f"{path} was made by another version of wage-host: export it again")
