"""What the readers share: files read whole, and packages that a user may lack."""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from wage_host.errors import ModelError, ToolMissing

FILE_BYTES_MAX = 1 << 28  # a model of which 1 % would fit a board
PARTS_MAX = 2048  # of JSON, each of some 70 bytes in memory
NAME_MAX = 120
TROUBLES_MAX = 24  # named in one message


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


class Troubles:
    """The nodes of one pass over a model that cannot be: what messages call them, by the reason."""

    def __init__(self) -> None:
        self.first, self.count = 0, 0  # the number of the first one in the file; how many
        self.by_reason: dict[str, list[str]] = {}

    def __len__(self) -> int:
        return self.count

    def add(self, number: int, node: str, why: str) -> None:
        """One more."""
        self.first = self.first if self.count else number
        self.count += 1
        if self.count <= TROUBLES_MAX:
            self.by_reason.setdefault(why, []).append(node)


def refusal(path: object, passes: Sequence[Troubles]) -> ModelError:
    """One error for all nodes that cannot be; of several passes the one that came further."""
    most = max(passes, key=lambda one: one.first)
    parts = [f"{', '.join(nodes)}: {why}" for why, nodes in most.by_reason.items()]
    if most.count > TROUBLES_MAX:
        parts.append(f"and {most.count - TROUBLES_MAX} more")
    return ModelError(f"{path} cannot be converted: {'; '.join(parts)}")
