"""Worst stack of each public call, from gcc's call graph (-fcallgraph-info=su)."""

# SPDX-License-Identifier: MIT

import re
from collections.abc import Iterable
from pathlib import Path

import native

INDIRECT = "__indirect_call"
KERNELS = r"wage_\w+_(forward|error|gradient)|wage_(largest|update|turn)"  # the table of layer.c
STORE = r"store\.c:store_\w+"  # the board's own; none in the library alone
TARGETS = {  # what a file calls through a pointer, as names of functions
    "arena.c": KERNELS,
    "step.c": KERNELS,
    "window.c": r".*\.c:sum_at",
    "store.c": STORE,
    "serve.c": r"(auth|keyed)_\w+",  # in an image with a key
    "field.c": r"waves\.c:(sense|label|show)",  # in an image with inputs
}


def graph(texts: Iterable[str]) -> tuple[dict[str, int], dict[str, set[str]]]:
    """Bytes of each function's frame, and whom it calls, from files *.ci."""
    frames: dict[str, int] = {}
    calls: dict[str, set[str]] = {}
    indirect: set[tuple[str, str]] = set()
    for text in texts:
        for name, size, kind in re.findall(
            r'node: \{ title: "([^"]+)" label: "[^"]*\\n(\d+) bytes \((\w+)\)"', text
        ):
            assert kind == "static", f"{name} has a stack without a bound"
            frames[Path(name).name] = int(size)
        for source, target, at in re.findall(
            r'edge: \{ sourcename: "([^"]+)" targetname: "([^"]+)"(?: label: "([^"]*)")?', text
        ):
            if target == INDIRECT:
                indirect.add((Path(source).name, Path(at.split(":")[0]).name))
            calls.setdefault(Path(source).name, set()).add(Path(target).name)
    for source, file in indirect:
        calls[source] |= {name for name in frames if re.fullmatch(TARGETS[file], name)}
        calls[source].discard(INDIRECT)
    return frames, calls


def worst(name: str, frames: dict[str, int], calls: dict[str, set[str]], above: tuple = ()) -> int:
    """Bytes that a call needs at most; of functions from elsewhere (memcpy) none are counted."""
    assert name not in above, f"recursion: {' -> '.join([*above, name])}"
    below = (worst(other, frames, calls, (*above, name)) for other in calls.get(name, ()))
    return frames.get(name, 0) + max(below, default=0)


def public() -> list[str]:
    """Functions of the public headers."""
    names = ("wage.h", "store.h", "classes.h", "guard.h", "prepare.h")
    headers = (native.ROOT / "runtime" / name for name in names)
    text = "".join(header.read_text(encoding="utf-8") for header in headers)
    return re.findall(r"^\w[\w ]*\*?(wage_\w+)\(", text, re.MULTILINE)
