"""The classes of a board: their names, one more of them, forgetting one."""

from __future__ import annotations

import re
from typing import Any

import click

from wage_host import files
from wage_host._core import lib
from wage_host.core import ClassState, info
from wage_host.device import Device
from wage_host.errors import LabelError, WrongUsage
from wage_host.extras import NOTHING
from wage_host.options import command, open_device, port_options
from wage_host.screen import Screen, table

NUMBERED = re.compile(r"(\d{1,3})=(.+)")
Names = tuple[str, ...]
LOG_KEEPS = "logs here still have the samples it learned from: wage-host runs RUN --delete"


def names_of(states: list[ClassState], known: Names) -> Names:
    """What each class is called: on the board, else in the model (`known`), else ""; () or all."""
    in_model = known or ("",) * len(states)
    found = tuple(state.name or name for state, name in zip(states, in_model, strict=True))
    return found if any(found) else ()


def named(device: Device, known: Names, new_class: str | None) -> Names:
    """Names of all classes of the board (or ()), with a new one when it is asked for.

    In a model without names a class that got none on the board goes by its number.
    """
    if new_class is None:
        return on_board(device, known)
    return _each(add(device, known, new_class), known)


def on_board(device: Device, known: Names) -> Names:
    """The same, as they are."""
    if not device.welcome.class_table:
        return known
    return _each(names_of(device.class_states(), known), known)


def _each(found: Names, known: Names) -> Names:
    return found if known else tuple(name or str(c) for c, name in enumerate(found))


def add(device: Device, known: Names, wanted: str) -> Names:
    """Names the class that `wanted` (NAME, or LABEL=NAME) asks for. Returns all names.

    A class named so before is taken again, so that an interrupted run goes on.
    """
    numbered = NUMBERED.fullmatch(wanted)
    name = numbered[2] if numbered else wanted
    if not device.welcome.class_table:
        raise WrongUsage(
            f"the board's model keeps no names of classes: convert it with --class-table, then "
            f"'{name}' can be learned"
        )
    states = device.class_states()
    names = names_of(states, known)
    if len(name.encode()) >= lib.WAGE_NAME_BYTES:
        raise WrongUsage(f"'{name}' is longer than {lib.WAGE_NAME_BYTES - 1} bytes: shorten it")
    if name in names and (not numbered or names.index(name) == int(numbered[1])):
        return names
    label = _numbered(int(numbered[1]), names, states) if numbered else _free(name, names, known)
    device.name_class(label, name)
    others = names or ("",) * len(states)
    return (*others[:label], name, *others[label + 1 :])


def _numbered(label: int, names: Names, states: list[ClassState]) -> int:
    """A class by its number, that has no name yet."""
    if label >= len(states):
        raise LabelError(f"the model has room for {len(states)} classes, 0 to {len(states) - 1}")
    if names and names[label]:
        raise LabelError(f"class {label} is '{names[label]}' already: choose a free one")
    return label


def _free(name: str, names: Names, known: Names) -> int:
    """The first class without a name."""
    if not known:
        raise WrongUsage(
            f"the model does not name its classes, so which one is free is not known: say "
            f"--new-class LABEL={name}, as 8={name}"
        )
    if "" not in names:
        raise LabelError(
            f"all {len(names)} classes have names ({', '.join(names)}): convert the model with "
            "room for more, --max-classes"
        )
    return names.index("")


def number_of(text: str, names: Names, classes: int) -> int:
    """A class by its name or number; LabelError when there is none."""
    if text in names and text:
        return names.index(text)
    if text.isdigit() and int(text) < classes:
        return int(text)
    known = ", ".join(name for name in names if name) or f"0 to {classes - 1}"
    raise LabelError(f"'{text}' is no class of the board: they are {known}")


def known_names(port: dict[str, Any]) -> Names:
    """Names in the model that the command names."""
    extras = info(files.read_blob(port["model"])).extras if port["model"] else NOTHING
    return extras.names


@command
@port_options
def do_classes(screen: Screen, **port: Any) -> dict[str, Any]:
    """What a board keeps of each class: name, samples, what it was taken for since START."""
    known = known_names(port)
    with open_device(**port) as device:
        states = device.class_states()
    names = names_of(states, known)
    labels = [name or str(c) for c, name in enumerate(names or [""] * len(states))]
    rows = [["class", "learned", "stored", "seen", "right", *labels]]
    for label, s in zip(labels, states, strict=True):
        right = f"{s.correct / s.seen:.1%}" if s.seen else "-"
        counts = [str(n) for n in (s.total, s.stored, s.seen)]
        rows.append([label, *counts, right, *map(str, s.taken_for)])
    for line in table(rows, right=tuple(range(1, len(rows[0])))):
        screen.say(line)
    fields = ("total", "stored", "seen", "correct", "taken_for")
    return {
        "classes": [
            {"name": label} | {f: getattr(s, f) for f in fields}
            for label, s in zip(labels, states, strict=True)
        ]
    }


@command
@port_options
@click.option("--class", "wanted", help="Name or number of the class.")
@click.option("--all", "everything", is_flag=True, help="All that was learned, as reset --factory.")
def do_forget(
    screen: Screen, wanted: str | None, everything: bool, **port: Any
) -> dict[str, Any]:
    """Have a board forget a class or everything, in its checkpoints too.

    Of a class go its samples, its name and what its output learned; what hidden layers learned
    together with other classes stays. The board alone forgets: samples that a log on this
    computer keeps of a run go with wage-host runs RUN --delete.
    """
    if (wanted is None) != everything:
        raise WrongUsage("say which class with --class, or --all")
    known = known_names(port)
    with open_device(**port) as device:
        if everything:
            device.reset(lib.WAGE_FACTORY)
            screen.say("the board has forgotten everything: it runs from its factory")
            screen.say(LOG_KEEPS)
            return {"forgotten": "all", "generation": device.welcome.generation}
        names = names_of(device.class_states(), known)
        label = number_of(wanted, names, device.info.classes)
        generation = device.forget_class(label)
    kept = f": checkpoint {generation}" if generation else ""
    screen.say(f"the board has forgotten class {wanted}{kept}")
    screen.say(LOG_KEEPS)
    return {"forgotten": label, "generation": generation}
