"""How far a training run is, in a file: it goes on from there and ends with the same bits."""

import dataclasses
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from wage_host.errors import CheckpointError
from wage_host.files import UNREADABLE, write_whole

FILE_FORMAT = 1


@dataclasses.dataclass
class Progress:
    """Where a run is: `epoch` (from 0), of it `done` samples, `right` of them, in `seconds`.

    rows: what train.run() told of each epoch before.
    """

    epoch: int = 0
    done: int = 0
    right: int = 0
    seconds: float = 0.0
    rows: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    def check(self, epochs: int, samples: int, shares: set[str]) -> None:
        """ValueError when a run of so many epochs and samples, telling these shares, has it not."""
        counts, parts = [self.epoch, self.done, self.right], []
        seconds, rates = [self.seconds], []
        told = isinstance(self.rows, list) and all(
            isinstance(row, dict) and row.keys() == {"epoch", "rate", "seconds", *shares}
            for row in self.rows
        )
        for row in self.rows if told else []:
            counts.append(row["epoch"])
            rates.append(row["rate"])
            seconds.append(row["seconds"])
            parts += [row[name] for name in shares]
        if not (
            told
            and all(type(n) is int for n in counts)
            and all(type(s) in (int, float) and 0 <= s < math.inf for s in seconds)
            and all(type(p) in (int, float) and 0 <= p <= 1 for p in parts)
            and all(isinstance(rate, str) for rate in rates)
            and counts[3:] == list(range(1, len(self.rows) + 1))
            and self.epoch == len(self.rows) <= epochs
            and 0 <= self.right <= self.done <= samples
        ):
            raise ValueError("the progress of another run")


def save(path: Path, run: dict[str, str], state: dict[str, np.ndarray], progress: Progress) -> None:
    """Writes a checkpoint of a run whole; `run`: what makes it this run and no other."""
    about = {"wage_training": FILE_FORMAT, "run": run, "progress": dataclasses.asdict(progress)}
    file = io.BytesIO()
    np.savez(file, about=json.dumps(about), **state)
    write_whole(path, file.getvalue())


def load(path: Path, run: dict[str, str]) -> tuple[dict[str, np.ndarray], Progress] | None:
    """State and progress in a checkpoint, which must be of this run; None when there is no file.

    Neither is believed yet: Progress.check() and Core.set_state() look at them.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            about = json.loads(str(file["about"]))
            if about["wage_training"] != FILE_FORMAT:
                raise CheckpointError(
                    f"{path} is a checkpoint of another version: choose another file"
                )
            other = [what for what in run if about["run"].get(what) != run[what]]
            if other:
                raise CheckpointError(
                    f"{path} is the checkpoint of a run with other {' and '.join(other)}: choose "
                    "another file, or delete it to begin anew"
                )
            state = {name: np.asarray(file[name]) for name in file if name != "about"}
            return state, Progress(**about["progress"])
    except FileNotFoundError:
        return None
    except UNREADABLE:
        raise CheckpointError(
            f"{path} is no checkpoint of a training run, or is damaged: choose another file, or "
            "delete it to begin anew"
        ) from None
