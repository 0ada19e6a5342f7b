"""The rate of a stream, found on a host by rehearsal with known samples alone."""

# SPDX-License-Identifier: MIT

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from wage_host import data, train
from wage_host.files import write_whole

from continual import table
from continual.streams import chosen
from continual.table import Benchmark

How = TypeVar("How")


@dataclasses.dataclass(frozen=True)
class Rehearsal:
    """Known samples: a host learns the old ones, then the last class arrives; held: the measure."""

    old: data.Data
    new: data.Data
    held: data.Data


def rehearsal(benchmark: Benchmark, known: data.Data, seed: int) -> Rehearsal:
    """Of what a host knows before a stream."""
    some, held = train.split(known, table.HELD, seed)
    last = some.labels == some.labels.max()
    return Rehearsal(
        chosen(some, ~last), chosen(chosen(some, last), slice(benchmark.samples)), held
    )


def best(path: Path, tries: Sequence[How], score: Callable[[How], float]) -> How:
    """The first of the tries with the best score; `path` keeps which."""
    if not path.exists():
        scores = [round(score(how), 6) for how in tries]
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(scores).encode())
    scores = json.loads(path.read_text(encoding="utf-8"))
    return tries[scores.index(max(scores))]
