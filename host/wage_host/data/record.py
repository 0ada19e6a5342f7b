"""Inputs of a board that senses, taken home with their labels: data of the very sensor."""

from __future__ import annotations

import dataclasses
import io
import time
from pathlib import Path
from typing import Any

import click
import numpy as np

from wage_host import classes, data, files
from wage_host.data.prepare import shape_text
from wage_host.data.raw import whole
from wage_host.device import Device
from wage_host.errors import DataError, Interrupted, ShapeError, WageError, WrongUsage
from wage_host.options import FILE, WHERE, command, open_device, port_options
from wage_host.screen import Screen
from wage_host.teach import NO_INPUTS


@dataclasses.dataclass
class Recording:
    """A file of inputs: x, each int8 in the model's shape, and the class of each by its name."""

    path: Path
    shape: tuple[int, int, int]
    x: list[np.ndarray]
    labels: list[str]
    names: list[str]
    boards: list[str]

    @classmethod
    def open(cls, path: Path, shape: tuple[int, int, int]) -> Recording:
        """What the file has so far; an empty one when there is none."""
        if path.suffix.lower() != ".npz":
            raise WrongUsage(f"{path}: recordings are .npz files: name one with -o")
        files.check_output(path)
        if not path.exists():
            return cls(path, shape, [], [], [], [])
        raw = data.read(path)
        if not raw.inputs:
            raise DataError(
                f"{path} holds other data, not what a board sensed: name another file with -o"
            )
        if raw.x.shape[1:] != shape:
            sizes = (shape_text(s) for s in (raw.x.shape[1:], shape))
            raise ShapeError(
                "{} holds inputs of {}, the board's model takes {}: name another file with "
                "-o".format(path, *sizes)
            )
        numbers, called = raw.numbered(None)
        labels = [called[k] if called else str(k) for k in numbers.tolist()]
        with np.load(path, allow_pickle=False) as file:
            boards = file["boards"].tolist()
        names = [*called] or sorted({*labels}, key=int)
        return cls(path, shape, [*raw.x], labels, names, boards)

    def add(self, x: np.ndarray, name: str) -> None:
        """One more input."""
        self.x.append(x)
        self.labels.append(name)
        if name not in self.names:
            self.names.append(name)

    def write(self) -> None:
        """The whole file. Classes that are all numbers stay these numbers."""
        arrays: dict[str, Any] = {"x": np.stack(self.x), "boards": np.array(self.boards)}
        if all(whole(name) for name in self.names):
            arrays["y"] = np.array(self.labels).astype(np.int64)
        else:
            arrays["y"] = np.array([self.names.index(name) for name in self.labels], np.int64)
            arrays["names"] = np.array(self.names)
        file = io.BytesIO()
        np.savez_compressed(file, **arrays)
        files.write_whole(self.path, file.getvalue())


@command
@click.argument("wanted", metavar="[CLASS]", required=False)
@click.option("--samples", type=click.IntRange(1), required=True, help="How many.")
@click.option("-o", "--output", type=FILE, required=True, help="The data, .npz; more is appended.")
@click.option("--rate", type=click.FloatRange(0, min_open=True),
              help="Inputs a second at most; default: as the board senses them.")
@port_options
def do_record(
    screen: Screen, wanted: str | None, samples: int, output: Path, rate: float | None, **port: Any
) -> dict[str, Any]:
    """Take home what a board senses now, as CLASS: labelled data of its own sensor.

    For boards with inputs of their own. CLASS is a name or a number; without it the board's buttons
    say what each input is, and those of which they say nothing are left. Nothing is learned. The
    file has the integers that the board's model takes: train, convert --samples and learn --data
    read it as it is.
    """
    if wanted is not None and not wanted.strip():
        raise WrongUsage("the class needs a name, or a number from 0")
    with open_device(**port) as device:
        if not device.welcome.senses:
            raise WrongUsage(NO_INPUTS)
        names = classes.on_board(device, classes.known_names(port))
        recording = Recording.open(output, device.info.shape)
        board = f"{device.board} ({WHERE[device.place]})"
        recording.boards = sorted({*recording.boards, board})
        screen.say(f"board: {board}, inputs of {shape_text(device.info.shape)}")
        before = len(recording.x)
        try:
            _record(screen, device, recording, wanted, names, samples, rate or 0.0)
        except KeyboardInterrupt:
            raise Interrupted(f"interrupted; {_kept(recording, before)}") from None
        except WageError:
            screen.say(_kept(recording, before))
            raise
    screen.say(_kept(recording, before))
    counts = {name: recording.labels.count(name) for name in recording.names}
    screen.say("by class: " + ", ".join(f"{name}: {n}" for name, n in counts.items()))
    return {"data": str(output), "recorded": samples, "classes": counts}


def _record(
    screen: Screen, device: Device, to: Recording, wanted: str | None, names: classes.Names,
    samples: int, rate: float,
) -> None:  # fmt: skip
    """Takes so many more inputs."""
    begun, done, unnamed = time.monotonic(), 0, 0
    with screen.progress("recording", samples) as update:
        for x, label in device.sense(rate):
            if wanted is None and label is None:
                unnamed += 1
                update(done, f"{unnamed} left, which no button named")
                continue
            done += 1
            to.add(x, wanted or (names[label] if names else str(label)))
            update(done, f"{done / max(1e-3, time.monotonic() - begun):.1f} a second")
            if done == samples:
                return


def _kept(recording: Recording, before: int) -> str:
    """Writes the file, unless nothing came; says what there is."""
    came = len(recording.x) - before
    if not came:
        return "no input came"
    recording.write()
    return f"{recording.path} has {came} inputs more, {len(recording.x)} in all"
