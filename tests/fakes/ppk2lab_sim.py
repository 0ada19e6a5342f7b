"""The PPK2 of another author: the simulator of ppk2lab (MIT) behind a pseudo-terminal.

More options: gaps ([at sample, samples] that are missing).
"""

# SPDX-License-Identifier: MIT

import json
import sys

from ppk2lab.testing import StepProfile
from ppk2lab.transport.mock import SimulatedPPK2

from fakes.lines import Line


def main(options: dict) -> None:
    """For ever."""
    line = Line()
    steps = [(count, 1e6 * amperes, pins) for count, amperes, pins in options["steps"]]
    profile = StepProfile(steps, repeat=True)
    gaps = dict(options.get("gaps", []))
    simulator = SimulatedPPK2(profile=profile, gaps=gaps, metadata_chunk_bytes=7)
    while True:
        if said := line.read(0 if simulator.measuring else 0.01):
            simulator.handle_write(said)
        line.write(simulator.read(4096))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
