"""What people see while a command works: progress on a terminal, plain lines elsewhere."""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from wage_host.course import Course
from wage_host.progress import Tell

PLAIN_S = 2.0  # at least, between two lines where there is no terminal
PLAIN_SHARE = 0.05  # of the time so far passes at least, too
CLASSES = 12  # shown on a terminal at most


def time_text(seconds: float) -> str:
    """A time as people say it: 40 s, 12 min, 3 h 5 min."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def size_text(count: int) -> str:
    """Bytes as people say them: 16 KB, 4 MB; others as they are."""
    for name, unit in (("MB", 1 << 20), ("KB", 1 << 10)):
        if count >= unit and count % unit == 0:
            return f"{count // unit} {name}"
    return str(count)


def table(rows: Sequence[Sequence[str]], right: Iterable[int] = ()) -> list[str]:
    """Rows as lines with aligned columns; `right`: which columns hold numbers."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    pads = [str.rjust if k in set(right) else str.ljust for k in range(len(widths))]
    return [
        "  ".join(pad(cell, width) for pad, cell, width in zip(pads, row, widths, strict=True))
        .rstrip()
        for row in rows
    ]  # fmt: skip


class Screen:
    """Writes to standard output, or to standard error when that is for JSON alone."""

    def __init__(self, json: bool):
        self.console = Console(stderr=json, highlight=False, emoji=False)

    def say(self, text: str = "") -> None:
        """One line or more, as they are."""
        self.console.print(text, markup=False, soft_wrap=not self.console.is_terminal)

    @contextlib.contextmanager
    def progress(self, what: str, total: int) -> Iterator[Callable[[int, str], None]]:
        """A progress display; gives the function to call with how many are done and a note.

        `total` 0: nobody knows.
        """
        if not self.console.is_terminal:
            with self._plain(what, total) as update:
                yield lambda done, note: update(done, lambda: note)
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=self.console) as progress:
            task = progress.add_task(what, total=total or None, note="")
            yield lambda done, note: progress.update(task, completed=done, note=note)

    @contextlib.contextmanager
    def counted(self, what: str) -> Iterator[Tell]:
        """progress() for work that says itself how much there is: done, total, a note."""
        with contextlib.ExitStack() as shown:
            update = None

            def tell(done: int, total: int, note: str) -> None:
                nonlocal update
                update = update or shown.enter_context(self.progress(what, total))
                update(done, note)

            yield tell

    @contextlib.contextmanager
    def _plain(self, what: str, total: int) -> Iterator[Callable[[int, Callable[[], str]], None]]:
        """The same in lines, now and then; the note is asked for when one is due."""
        begin, first = time.monotonic(), None
        due, last = begin + PLAIN_S, (0, str)

        def update(done: int, note: Callable[[], str]) -> None:
            nonlocal due, first, last
            first, last = done if first is None else first, (done, note)
            now = time.monotonic()
            if now >= due and done > first:
                due = now + max(PLAIN_S, (now - begin) * PLAIN_SHARE)
                left_s = (now - begin) / (done - first) * (total - done)
                left = f", {time_text(left_s)} left" if total else ""
                self.say(f"{what}: {done}{of}, {note()}{left}")

        of = f" of {total}" if total else ""
        yield update
        self.say(f"{what}: {last[0]}{of}, {last[1]()}")

    def watch(
        self, what: str, count: int, records: Iterable[Any], course: Course | None = None
    ) -> Iterator[Any]:
        """What comes, with a display of how it goes (`course`, which is told of it)."""
        course = course or Course()
        course.begin(what, count)
        if self.console.is_terminal:
            with Live(get_renderable=lambda: _picture(course), console=self.console):
                yield from _taken(course, records)
            return
        with self._plain(what, count) as update:
            for record in _taken(course, records):
                update(course.done, course.line)
                yield record


def _taken(course: Course, records: Iterable[Any]) -> Iterator[Any]:
    """Each record once the course knows of it."""
    for record in records:
        course.take(record)
        yield record


def _picture(course: Course) -> Group:
    with course.lock:
        return picture(course)


def picture(course: Course) -> Group:
    """How a run goes, for a terminal."""
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(bar_width=20), MofNCompleteColumn(),
        TextColumn("{task.fields[left]}"),
    )  # fmt: skip
    left_s = course.left_s()
    left = f"{time_text(left_s)} left" if left_s else ""
    bar.add_task(course.what, total=course.total or None, completed=course.done, left=left)
    grid = Table.grid(padding=(0, 2))
    for title, value, note in course.figures():
        grid.add_row(Text(f"  {title}", "dim"), Text(value), Text(note, "dim"))
    for name, seen, share in _shown(course.by_class()):
        bars = Text("█" * round(20 * share), "cyan") + Text("░" * (20 - round(20 * share)), "dim")
        grid.add_row(Text(f"  {name}"), bars, Text(f"{100 * share:.1f} % of {seen}"))
    return Group(bar, grid)


def _shown(by_class: list[tuple[str, int, float]]) -> list[tuple[str, int, float]]:
    """All classes, or where there are too many for a terminal those that go worst."""
    worst = sorted(by_class, key=lambda one: one[2])[:CLASSES]
    return [one for one in by_class if one in worst]
