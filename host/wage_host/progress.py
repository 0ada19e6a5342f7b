"""How far long work is, for whoever shows it (Screen.counted does)."""

from collections.abc import Callable

Tell = Callable[[int, int, str], None]  # done, total, a note


def silent(_done: int, _total: int, _note: str) -> None:
    """Nobody is told."""
