"""What the readers share: files read whole, and packages that a user may lack."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

from wage_host.errors import ModelError, ToolMissing

FILE_BYTES_MAX = 1 << 28  # a model of which 1 % would fit a board


def read_whole(path: Path) -> bytes:
    """The bytes of a model file."""
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise ModelError(f"{path} is larger than {FILE_BYTES_MAX >> 20} MB: no board takes it")
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read the model {path}: {error.strerror}") from None


def shown(name: str | bytes) -> str:
    """A name that stands in a file, for a message of one line."""
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
