"""A bridge to an INA228 that prints t_us,V,A,mark; 1,000 lines a second.

More options: speed, first_us (where its clock begins), volts, losses ([at sample, samples]),
repeats and garbles (samples that come twice, or as half a line), text (what it prints instead),
count (lines, then silence), unplug (at sample).
"""

# SPDX-License-Identifier: MIT

import json
import sys
import time

from fakes.lines import Line, Pace

RATE_HZ = 1000
WRAP = 1 << 32


def main(options: dict) -> None:
    """For ever."""
    line, pace = Line(), Pace(RATE_HZ, options.get("speed", 1))
    steps = [s for s in options["steps"] for _ in range(s[0])]
    losses, sent = dict(options.get("losses", [])), 0
    while "text" in options:
        line.write(options["text"].encode())
        time.sleep(0.05)
    line.write(b"0.012,1\nt_us,V,A,mark\r\n")
    while sent < options.get("count", sys.maxsize):
        time.sleep(0.001 if options.get("speed", 1) else 0)
        for _ in range(pace.due(sent, 100)):
            sent += losses.pop(sent, 0)
            _, amperes, mark = steps[sent % len(steps)]
            t_us = (options.get("first_us", 0) + sent * 1_000_000 // RATE_HZ) % WRAP
            text = f"{t_us},{options.get('volts', 3.0):.4f},{amperes:.7f},{mark}\r\n".encode()
            if sent in options.get("garbles", []):
                text = text[4:20] + b"\r\n"
            line.write(text * (2 if sent in options.get("repeats", []) else 1))
            sent += 1
            if sent == options.get("unplug"):
                line.unplug()
    time.sleep(3600)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
