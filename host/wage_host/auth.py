"""The key that a board and its hosts share: BLAKE2b over nonces and frames, SPEC 8.5."""

import hashlib
import os
import secrets
from pathlib import Path

from wage_host import wire
from wage_host._core import lib
from wage_host.errors import FileError, KeyUnusable

DIFFERENT = 16  # values among the bytes of a key, at least: random ones have more


def make(path: Path) -> None:
    """Writes a new key, for its owner's eyes only; a file that is there stays."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise FileError(f"{path} exists: a board may have that key; name a new file") from None
    except OSError as error:
        raise FileError(f"cannot write {path}: {error.strerror}") from None
    with open(handle, "w", encoding="ascii") as file:
        file.write(secrets.token_bytes(lib.AUTH_KEY_BYTES).hex() + "\n")


def load(path: Path) -> bytes:
    """The key in a file, or KeyUnusable."""
    try:
        text = path.read_text(encoding="ascii").strip()
        key = bytes.fromhex(text)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "not hexadecimal digits"
        raise KeyUnusable(f"no key in {path} ({why}): make one with 'wage-host key'") from None
    if len(key) != lib.AUTH_KEY_BYTES or len(text) != 2 * len(key):
        raise KeyUnusable(f"{path} has {len(key)} bytes, a key {lib.AUTH_KEY_BYTES}")
    if len(set(key)) < DIFFERENT:
        raise KeyUnusable(f"the key in {path} can be guessed: make one with 'wage-host key'")
    return key


def session_key(key: bytes, host: tuple[int, int], board: tuple[int, int]) -> bytes:
    """Of the session that these nonces began, each two words of 32 bits."""
    nonces = b"".join(word.to_bytes(4, "little") for word in (*host, *board))
    return hashlib.blake2b(b"WAGE key" + nonces, key=key, digest_size=32).digest()


def tag(session: bytes, side: int, message: wire.Message) -> bytes:
    """What the frame of a message without a tag must end with; side: enum auth_side."""
    data = bytes([side]) + wire.body(message)
    return hashlib.blake2b(data, key=session, digest_size=lib.AUTH_TAG_BYTES).digest()
