"""Any board that prints lines `t_us,V,A,mark`: bridges to an INA226 or INA228, or a file of them.

t_us: microseconds, which may wrap at 2^32; mark: pins as a number, 0 to 255. Lines that begin with
a letter or # are heads. WHERE is a port, PORT,BAUD, or a file.
"""

import io
import re
import time
from pathlib import Path

import numpy as np

from wage_host.errors import InstrumentError
from wage_host.link import LinkLost
from wage_host.power.instrument import NOTHING, WIDE, Block, Gap, open_port

TITLE = "board that prints t_us,V,A,mark"
BAUD = 115200
WRAP = 1 << 32
ANSWER_S, SILENT_S = 5.0, 5.0
JUMP = 2.5  # times the usual step: samples are missing
NUMBER = r"\s*(-?[\d.]+(?:[eE][+-]?\d+)?)\s*"
LINE = re.compile(rf"\s*(\d+)\s*,{NUMBER},{NUMBER},\s*(\d+)\s*")


class CsvLines:
    """Lines of a port or a file."""

    pins = 8
    rate_hz = 0.0

    def __init__(self, where: str, volts: float | None):
        if volts is not None:
            raise InstrumentError("the lines of csv say the voltage themselves: leave out --volts")
        self.name = f"lines of {where}"
        self.live = not Path(where).is_file()
        if self.live:
            port, _, baud = where.partition(",")
            if baud and not baud.isdigit():
                raise InstrumentError(f"'{baud}' is no baud rate: write csv:PORT,115200")
            self._source = open_port("csv", TITLE, port, [], int(baud or BAUD))
        else:
            try:
                self._source = io.BytesIO(Path(where).read_bytes())
            except OSError as error:
                raise InstrumentError(f"cannot read {where}: {error.strerror}") from None
        self._text, self._gaps = "", []
        self._last: int | None = None  # microsecond of the last sample
        self._first, self._usual = 0, 0.0

    @staticmethod
    def find() -> list[str]:
        """Nobody can tell from outside."""
        return []

    def start(self) -> None:
        """Waits for a first line, which is not kept: it may be half of one."""
        until, heard = time.monotonic() + ANSWER_S, ""
        while self.live and "\n" not in self._text[self._text.find("\n") + 1 :]:
            got = self._source.read(0.1).decode("ascii", "replace")
            heard += got
            self._text += got
            if time.monotonic() > until:
                found = f"prints {heard[:20]!r}" if heard else "prints nothing"
                raise InstrumentError(f"{self.name} are no lines t_us,V,A,mark: it {found}")
        if self.live:
            self._text = self._text[self._text.find("\n") + 1 :]
        self._heard = time.monotonic()

    def read(self, timeout_s: float) -> Block | None:
        """What has come."""
        if self.live:
            data = self._source.read(timeout_s)
            if not data and time.monotonic() - self._heard > SILENT_S:
                raise LinkLost(f"{self.name} stopped")
        else:
            data = self._source.read(1 << 16)
            if not data and not self._text:
                return None
            data = data or b"\n"
        if not data:
            return NOTHING
        self._heard = time.monotonic()
        *lines, self._text = (self._text + data.decode("ascii", "replace")).split("\n")
        rows = [row for line in lines if (row := self._row(line))]
        return self._block(rows) if rows else NOTHING

    def gaps(self) -> list[Gap]:
        """What went wrong since this was asked last."""
        found, self._gaps = self._gaps, []
        return found

    def stop(self) -> None:
        """Lets go of it."""
        self._source.close()

    def _row(self, line: str) -> tuple[int, float, float, int] | None:
        """A line in numbers, or None."""
        match = LINE.fullmatch(line.strip("\r"))
        try:
            row = int(match[1]), float(match[2]), float(match[3]), int(match[4])
            if row[0] < WRAP and row[3] < 256:
                return row
        except (TypeError, ValueError):
            pass
        text = line.strip()
        if text and not text[0].isalpha() and text[0] != "#":
            if self._last is None and not self._usual and len(self._gaps) > 20:
                raise InstrumentError(f"{self.name} are not t_us,V,A,mark, but {text[:30]!r}")
            self._tell("lost", 0.0, 1, f"a line that is no sample: {text[:30]!r}")
        return None

    def _tell(self, kind: str, seconds: float, count: int, text: str) -> None:
        at_s = ((self._last or 0) - self._first) / 1e6
        self._gaps.append(Gap(at_s, seconds, count, kind, text))

    def _block(self, rows: list[tuple[int, float, float, int]]) -> Block:
        """Rows as samples: time unwrapped, what came twice dropped."""
        kept, times = [], []
        for row in rows:
            step = 0 if self._last is None else (row[0] - self._last) % WRAP
            if self._last is None:
                self._first = self._last = row[0]
            elif step == 0 or step > WRAP // 2:
                self._tell("repeated", 0.0, 1, f"a sample of {row[0]} us came again")
                continue
            elif self._usual and step > JUMP * self._usual:
                missing = round(step / self._usual) - 1
                text = f"{step} us without a sample; usual are {self._usual:.0f}"
                self._tell("lost", (step - self._usual) / 1e6, missing, text)
            else:
                self._usual += (step - self._usual) * (0.05 if self._usual else 1.0)
            self._last += step
            kept.append(row)
            times.append((self._last - self._first) / 1e6)
        if not kept:
            return NOTHING
        _, volts, amperes, marks = zip(*kept, strict=True)
        return Block(
            np.array(times), np.array(volts, WIDE), np.array(amperes, WIDE),
            np.array(marks, np.uint8),
        )  # fmt: skip
