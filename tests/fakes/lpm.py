"""An X-NUCLEO-LPM01A, or an STLINK-V3PWR with stlink: true. 5,000 samples a second.

More options: speed (1: as a real one, 0: as fast as it goes), refuses (a command), losses ([at
sample, samples], which the time stamps show), skips (events that do not come, by number), garbles
(samples that come as half a line), trips (at sample: it stops with an error).
"""

# SPDX-License-Identifier: MIT

import json
import math
import random
import sys

from fakes.lines import Line, Measuring, Pace

RATE_HZ = 5000
BURST = 250


class Fake(Measuring):
    """What it does, step by step."""

    def __init__(self, options: dict):
        self.options, self.line = options, Line()
        self.prompt = "stlp > " if options.get("stlink") else "PowerShield > "
        self.volts, self.on, self.pending = 3.3, False, b""
        self.pace, self.sent, self.said, self.events, self.pin = None, 0, 0, 0, 0
        self.losses = dict(options.get("losses", []))
        self.random = random.Random(1)
        self.steps = [s for s in options["steps"] for _ in range(s[0])]

    def say(self, text: str) -> None:
        """A line with a prompt."""
        self.line.write(f"\r\n{self.prompt}{text}\r\n\r\n".encode())

    def hear(self, data: bytes) -> None:
        """Commands of the host."""
        *lines, self.pending = (self.pending + data).split(b"\n")
        for line in lines:
            if text := line.decode().strip():
                self.do(text)

    def do(self, text: str) -> None:
        """One command."""
        word, _, rest = text.partition(" ")
        if text == self.options.get("refuses"):
            self.say(f"error {text}\r\nError detail: not now")
        elif word == "stop":
            self.pace = None
            done = "summary beg\r\nsummary end\r\nend" if self.options.get("stlink") else ""
            self.say(done or "Acquisition completed")
        else:
            if word == "volt":
                self.volts = int(rest.rstrip("m")) / 1000
            if word == "pwr":
                self.on = rest.startswith("on")
            self.say(f"ack {text}")
            if word == "start":
                self.pace, self.sent, self.said = Pace(RATE_HZ, self.options.get("speed", 1)), 0, 0

    def number(self, joules: float) -> str:
        """As it writes them, the mean of many true."""
        power = math.floor(math.log10(joules)) - 3 if joules else -9
        whole = int(joules / 10.0**power + self.random.random())
        if whole > 9999:
            whole, power = whole // 10, power + 1
        return f"{whole:04d}{power:+03d}"

    def burst(self) -> None:
        """What is due."""
        out = []
        for _ in range(self.pace.due(self.sent, BURST)):
            self.sent += self.losses.pop(self.sent, 0)
            _, amperes, pin = self.steps[self.sent % len(self.steps)]
            if self.pin and not pin:
                self.events += 1
                if self.events not in self.options.get("skips", []):
                    out.append(f"event {self.events} ris")
            self.pin = pin
            if self.sent - self.said >= RATE_HZ and not self.options.get("stlink"):
                self.said = self.sent
                ms = 1000 * self.sent // RATE_HZ
                out.append(f"TimeStamp: {ms // 1000:03d}s {ms % 1000:03d}ms, buff 00%")
            text = self.number(amperes * self.volts / RATE_HZ if self.on else 0.0)
            out.append(text[:3] if self.sent in self.options.get("garbles", []) else text)
            self.sent += 1
            if self.sent == self.options.get("trips"):
                out.append("error: overcurrent")
                self.pace = None
                break
        if out:
            self.line.write(("\r\n".join(out) + "\r\n").encode())


if __name__ == "__main__":
    Fake(json.loads(sys.argv[1])).run()
