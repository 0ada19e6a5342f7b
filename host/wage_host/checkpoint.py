"""How far a training run is, in a file: it goes on from there and ends with the same bits."""

import dataclasses
import io
import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from wage_host.errors import CheckpointError
from wage_host.files import write_whole

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


def save(path: Path, run: dict[str, str], state: dict[str, np.ndarray], progress: Progress) -> None:
    """Writes a checkpoint of a run whole; `run`: what makes it this run and no other."""
    about = {"wage_training": FILE_FORMAT, "run": run, "progress": dataclasses.asdict(progress)}
    file = io.BytesIO()
    np.savez(file, about=json.dumps(about), **state)
    write_whole(path, file.getvalue())


def load(path: Path, run: dict[str, str]) -> tuple[dict[str, np.ndarray], Progress] | None:
    """State and progress in a checkpoint, which must be of this run; None when there is no file."""
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
            state = {name: file[name] for name in file if name != "about"}
        return state, Progress(**about["progress"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error):
        raise CheckpointError(
            f"{path} is no checkpoint of a training run, or is damaged: choose another file, or "
            "delete it to begin anew"
        ) from None
