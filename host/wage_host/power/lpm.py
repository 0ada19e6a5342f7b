"""ST's X-NUCLEO-LPM01A and STLINK-V3PWR: one family of ASCII commands, energy at 5 kHz.

Both answer 'ack' and the command, in lines behind a prompt. They are asked for energy, as MLPerf
Tiny's runner does: a sample is what was drawn since the one before, so nothing between samples is
missed. `6409-07` is 6409·10^-7 J. `event 12 ris` among the samples is an edge at pin D7, counted;
`TimeStamp: 003s 000ms, buff 00%` comes once a second from an LPM01A, and shows lost samples.
"""

import contextlib
import re
import time

import numpy as np

from wage_host.errors import InstrumentError
from wage_host.link import LinkLost, ports_of
from wage_host.power.instrument import NOTHING, WIDE, Block, Gap, open_port

TITLE = "LPM01A or STLINK-V3PWR"
USB = {(0x0483, 0x5740), (0x0483, 0x3757)}
BAUD = 3_686_400
RATE_HZ = 5000  # the most that ASCII does without end
SET_UP = (
    "htc", "pwr off", "acqtime inf", "trigdelay 0", "trigsrc sw", "output energy",
    "format ascii_dec", f"freq {RATE_HZ // 1000}k",
)  # fmt: skip
MARKS = "eventsrc d7 fal"  # firmware without it has no marks
ANSWER_S, QUIET_S, SILENT_S = 3.0, 0.1, 5.0
OFF_MAX = RATE_HZ // 100  # samples that a time stamp may be beside the count
PROMPT = re.compile(r"^(?:\x00|\s)*(?:PowerShield|stlp) > ")
SAMPLE = re.compile(r"(\d{4})([+-]\d{2})")
STAMP = re.compile(r"TimeStamp: (\d+)s (\d+)ms")
EVENT = re.compile(r"event (\d+) (?:ris|fal)")


class Lpm:
    """One of the two; it supplies the board, so it must be told with how much."""

    rate_hz = float(RATE_HZ)
    live = True

    def __init__(self, where: str, volts: float | None):
        if volts is None:
            raise InstrumentError(f"an {TITLE} supplies the board: say with --volts how much, 3.3")
        self._link = open_port("lpm", TITLE, where, self.find(), BAUD)
        self.name, self._volts = f"LPM at {where or self.find()[0]}", volts
        self._text, self._ready = "", []
        try:
            self._link.write(b"\r\nstop\r\n")
            until = time.monotonic() + ANSWER_S
            while self._link.read(QUIET_S) and time.monotonic() < until:
                pass  # of an earlier measurement
            for line in (*SET_UP, f"volt {round(volts * 1000)}m"):
                self._command(line)
            self.pins = int(self._ask(MARKS))
            self._command("pwr on nostatus")
        except BaseException:
            self._link.close()
            raise

    @staticmethod
    def find() -> list[str]:
        """Ports of ST's that may be one: other boards of theirs look the same."""
        return [name for name, _ in ports_of(USB)]

    def _lines(self, timeout_s: float) -> list[str]:
        """Lines that have come, without prompts."""
        self._text += self._link.read(timeout_s).decode("ascii", "replace")
        *lines, self._text = self._text.replace("\r", "\n").split("\n")
        return [PROMPT.sub("", line).strip(" \x00") for line in lines if line.strip(" \x00")]

    def _ask(self, line: str) -> bool:
        """Says a command; whether it was taken. InstrumentError when nobody answers."""
        self._link.write(f"{line}\r\n".encode())
        until, heard = time.monotonic() + ANSWER_S, ""
        while time.monotonic() < until:
            lines = self._lines(QUIET_S)
            for k, answer in enumerate(lines):
                if answer.startswith(f"ack {line}"):
                    self._ready = lines[k + 1 :]  # samples may follow at once
                    return True
                if answer.lower().startswith("err"):
                    self._refusal = answer
                    return False
                heard = heard or answer
        found = f"answers {heard[:30]!r}" if heard else "says nothing"
        raise InstrumentError(
            f"{self.name} is no {TITLE}, for to '{line}' it {found}: name its port, as lpm:PORT"
        )

    def _command(self, line: str) -> None:
        """Says a command that must be taken."""
        if not self._ask(line):
            raise InstrumentError(f"{self.name} refused '{line}': {self._refusal}")

    def start(self) -> None:
        """Begins to measure."""
        self._gaps: list[Gap] = []
        self._next, self._edges, self._edge = 0, None, False
        self._heard = time.monotonic()
        self._command("start")

    def read(self, timeout_s: float) -> Block:
        """What has come."""
        joules: list[float] = []
        numbers: list[int] = []
        marks: list[int] = []
        lines, self._ready = self._ready + self._lines(timeout_s), []
        for line in lines:
            self._heard = time.monotonic()
            if stamp := STAMP.search(line):
                self._compare(int(stamp[1]) * RATE_HZ + int(stamp[2]) * RATE_HZ // 1000)
            elif event := EVENT.fullmatch(line):
                self._count(int(event[1]))
            elif sample := SAMPLE.fullmatch(line):
                joules.append(int(sample[1]) * 10.0 ** int(sample[2]))
                numbers.append(self._next)
                marks.append(int(self._edge))
                self._next, self._edge = self._next + 1, False
            elif line.lower().startswith("err"):
                raise InstrumentError(f"{self.name} stopped: {line}")
            elif SAMPLE.search(line) or re.search(r"\d", line):
                self._lose(1, f"a line that is no sample: {line[:20]!r}")
        if time.monotonic() - self._heard > SILENT_S:
            raise LinkLost(f"{self.name} gives no samples any more")
        if not joules:
            return NOTHING
        volts = np.full(len(joules), self._volts, WIDE)
        amperes = np.array(joules) * RATE_HZ / self._volts
        t = np.array(numbers) / RATE_HZ
        return Block(t, volts, amperes.astype(WIDE), np.array(marks, np.uint8))

    def gaps(self) -> list[Gap]:
        """What went wrong since this was asked last."""
        found, self._gaps = self._gaps, []
        return found

    def stop(self) -> None:
        """Ends the measurement; the board keeps its supply."""
        with contextlib.suppress(LinkLost):
            self._link.write(b"stop\r\n")
            until = time.monotonic() + ANSWER_S
            while time.monotonic() < until and not {"Acquisition completed", "end"} & set(
                self._lines(QUIET_S)
            ):
                pass
            self._link.write(b"hrc\r\n")
        self._link.close()

    def _compare(self, expected: int) -> None:
        """A time stamp: how many samples there should have been."""
        if expected - self._next > OFF_MAX:
            self._lose(expected - self._next, "by its time stamps")

    def _lose(self, count: int, text: str) -> None:
        self._gaps.append(Gap(self._next / RATE_HZ, count / RATE_HZ, count, "lost", text))
        self._next += count

    def _count(self, number: int) -> None:
        """An edge with its number."""
        missing = 0 if self._edges is None else number - self._edges - 1
        if missing:
            text = f"{missing} edges are missing before number {number}"
            self._gaps.append(Gap(self._next / RATE_HZ, 0.0, 0, "marks", text))
        self._edges, self._edge = number, True
