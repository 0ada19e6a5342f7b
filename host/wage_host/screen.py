"""What people see while a command works: progress on a terminal, plain lines elsewhere."""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from wage_host.core import Record

PLAIN_S = 2.0  # between two lines where there is no terminal


class Screen:
    """Writes to standard output, or to standard error when that is for JSON alone."""

    def __init__(self, json: bool):
        self.console = Console(stderr=json, highlight=False)

    def say(self, text: str = "") -> None:
        """One line or more, as they are."""
        self.console.print(text, markup=False, soft_wrap=not self.console.is_terminal)

    @contextlib.contextmanager
    def progress(self, what: str, total: int) -> Iterator[Callable[[int, str], None]]:
        """A progress display; gives the function to call with how many are done and a note."""
        if not self.console.is_terminal:
            with self._plain(what, total) as update:
                yield update
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=self.console) as progress:
            task = progress.add_task(what, total=total, note="")
            yield lambda done, note: progress.update(task, completed=done, note=note)

    @contextlib.contextmanager
    def _plain(self, what: str, total: int) -> Iterator[Callable[[int, str], None]]:
        due, last = time.monotonic() + PLAIN_S, (0, "")

        def update(done: int, note: str) -> None:
            nonlocal due, last
            last = done, note
            if time.monotonic() >= due:
                due = time.monotonic() + PLAIN_S
                self.say(f"{what}: {done} of {total}, {note}")

        yield update
        self.say(f"{what}: {last[0]} of {total}, {last[1]}")

    def watch(self, what: str, count: int, records: Iterable[Record]) -> Iterator[Record]:
        """The records, with a progress display of how many were right so far."""
        right = 0
        with self.progress(what, count) as update:
            for done, record in enumerate(records, 1):
                right += record.prediction == record.label
                update(done, f"{100 * right / done:.1f} % right")
                yield record
