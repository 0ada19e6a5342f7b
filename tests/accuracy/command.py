"""What the commands of tables share: lines with the time of day, time left, how they end."""

# SPDX-License-Identifier: MIT

import threading
import time
from collections.abc import Callable

from wage_host.errors import WageError

SAYING = threading.Lock()


def say(line: str) -> None:
    """One line with the time of day."""
    with SAYING:
        print(f"{time.strftime('%H:%M:%S')}  {line}", flush=True)


def expected_s(others: list[dict | None]) -> float | None:
    """Seconds that a run takes, as those of other seeds did; None when none has finished."""
    times = [other["seconds"] for other in others if other]
    return sum(times) / len(times) if times else None


def time_left(times: list[float | None], workers: int = 1) -> str:
    """How long runs of so many seconds take; None: not known."""
    minutes = sum(filter(None, times)) / workers / 60
    unknown = f" and {times.count(None)} of unknown length" if None in times else ""
    return f"{len(times)} runs to do: about {minutes:.0f} min{unknown}"


def ended(work: Callable[[], int]) -> int:
    """The exit status of work: 1 with a line after an error of ours, 130 after Ctrl-C."""
    try:
        return work()
    except WageError as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        return 130
