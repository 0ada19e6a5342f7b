"""Data from the command line: what a file holds, public sets from their publishers."""

import contextlib
from pathlib import Path
from typing import Any

import click

from wage_host import data, files
from wage_host.core import info
from wage_host.data import fetch, record, show
from wage_host.errors import FileError, WrongUsage
from wage_host.options import FILE, LABEL, command
from wage_host.screen import Screen


@command
@click.argument("path", type=FILE)
@LABEL
@click.option("--prepare", help="Show what these steps make of it.")
@click.option("--model", type=FILE, help="Show what the steps of this .wage model make of it.")
def do_show(
    screen: Screen, path: Path, label: str | None, prepare: str | None, model: Path | None
) -> dict[str, Any]:
    """Classes, shapes, balance and range of a file or folder of samples.

    \b
    What is read:
      .npz            arrays x (samples first, channels last) and y (numbers from 0, texts, or
                      rows of one 1), and names of classes when there are some
      .csv, .tsv, -   rows of label,value,value,… (or ; or tabs between); the label's column by
                      --label; columns without a name are left out
      …-images-idx3-ubyte[.gz], .bin, .mat: MNIST, CIFAR-10, SVHN as published
      a folder        <class>/NAME.jpg (.png, .bmp, .gif, .webp, .tif), <class>/NAME.wav (whole
                      numbers or floats); SET.zip/train, too; hidden files are left out
      mnist:train     a published set in the folder that WAGE_DATA names
    """
    if prepare and model:
        raise WrongUsage("--prepare says how, or --model: give one of them")
    made, steps = None, ()
    with screen.counted("reading pictures") as tell:
        raw = data.read(path, label, tell)
        if prepare:
            made, extras = data.prepared_from(raw, prepare)
            steps = extras.steps
        elif model:
            extras = info(files.read_blob(model)).extras
            made, steps = data.prepared(raw, extras), () if raw.inputs else extras.steps
        about = show.summary(raw, made)
    screen.say("\n".join(show.lines(about)))
    if steps:
        screen.say("after " + ", ".join(map(data.steps.say, steps)))
    return about | {"prepare": [data.steps.say(step) for step in steps]}


@command
@click.argument("name", metavar=f"[{'|'.join(fetch.SOURCES)}]")
@click.option("--to", "folder", type=FILE, help="Default: the folder WAGE_DATA names, or this one.")
def do_fetch(screen: Screen, name: str, folder: Path | None) -> dict[str, Any]:
    """Get a public data set from its publisher, unless it is there already."""
    root = folder or data.datasets.root()
    found = fetch.there(name, root)
    if found:
        place, root = found
    elif not root.is_dir():
        raise FileError(f"there is no folder {root}: make it, or choose another with --to")
    else:
        place = _fetch(screen, name, root)
    fetched = found is None
    screen.say(f"{name} is {'now' if fetched else 'already'} in {place}")
    screen.say(f"use it as --data {name}:train and {name}:test, with WAGE_DATA={root}")
    return {"set": name, "folder": str(place), "fetched": fetched}


def _fetch(screen: Screen, name: str, root: Path) -> Path:
    """Downloads under a progress display, a file after the other."""
    last, update = "", None
    with contextlib.ExitStack() as shown:

        def progress(file: str, done: int, total: int) -> None:
            nonlocal last, update
            if file != last:
                shown.close()
                last, update = file, shown.enter_context(screen.progress(file, total))
            update(done, "bytes")

        return fetch.fetch(name, root, progress)


@click.group()
def data_group() -> None:
    """What samples are like; public sets from their publishers; what a board senses."""


data_group.name = "data"
data_group.add_command(do_show)
data_group.add_command(do_fetch)
data_group.add_command(record.do_record)
