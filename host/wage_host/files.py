"""Files that users name: models read whole, results written whole or not at all."""

import csv
import os
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path

from wage_host.errors import FileError, ModelError

# What the readers of NumPy, zipfile, gzip and csv raise for one damaged file or another.
UNREADABLE = (
    OSError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
    MemoryError,
    SyntaxError,
    csv.Error,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


def read_blob(path: Path) -> bytes:
    """The bytes of a .wage file."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read the model {path}: {error.strerror}") from None


def check_output(path: Path) -> None:
    """Raises now what would keep write_whole() from working after long work."""
    if path.is_dir():
        raise FileError(f"cannot write {path}: it is a folder; name a file")
    if not os.access(path.parent, os.W_OK):
        raise FileError(f"cannot write {path}: make the folder {path.parent}, or choose another")


def write_whole(path: Path, data: bytes) -> None:
    """Writes a file so that it is there whole, or not at all."""
    check_output(path)
    part = path.with_name(path.name + ".part")
    try:
        part.write_bytes(data)
        part.replace(path)
    except OSError as error:
        raise FileError(f"cannot write {path}: {error.strerror}") from None
