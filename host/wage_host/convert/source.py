"""What the readers share: files read whole, and packages that a user may lack."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from wage_host.errors import ModelError, ToolMissing

Tell = Callable[[int, int, str], None]  # how far long work is: done, total, a note
FILE_BYTES_MAX = 1 << 28  # a model of which 1 % would fit a board
PARTS_MAX = 2048  # of JSON, each of some 70 bytes in memory
NAME_MAX = 120
TROUBLES_MAX = 12  # named in one message


def silent(_done: int, _total: int, _note: str) -> None:
    """Nobody is told."""


def read_whole(path: Path) -> bytes:
    """The bytes of a model file."""
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise ModelError(f"{path} is larger than {FILE_BYTES_MAX >> 20} MB: no board takes it")
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read the model {path}: {error.strerror}") from None


def parsed(text: str) -> Any:
    """JSON that a file of at most WAGE_LAYERS_MAX layers needs; ValueError for more of it."""
    if sum(map(text.count, "[{,")) > PARTS_MAX:
        raise ValueError("parts")
    return json.loads(text)


def shown(name: str | bytes) -> str:
    """A name that stands in a file, or its beginning, for a message of one line."""
    name = name[:NAME_MAX]
    text = name.decode("utf-8", "replace") if isinstance(name, bytes) else name
    return "".join(c if c.isprintable() else "?" for c in text)


def wanted(module: str, extra: str) -> ModuleType:
    """A module of an optional package; ToolMissing says how to get it."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ToolMissing(
            f"the Python package {module}", f"pip install 'wage-host[{extra}]'"
        ) from None


def refusal(path: object, troubles: Sequence[str]) -> ModelError:
    """One error for all nodes that cannot be."""
    more = len(troubles) - TROUBLES_MAX
    text = "; ".join(troubles[:TROUBLES_MAX]) + (f"; and {more} more" if more > 0 else "")
    return ModelError(f"{path} cannot be converted: {text}")
