"""Power instruments that are none: processes of their own, which speak the real bytes.

with running("ppk2", steps=[[1000, 0.012, 1], …]) as port:
    ...

steps: samples, amperes and pins, over and over. Each kind is a module with main(options); what
else it can be told stands there.
"""

# SPDX-License-Identifier: MIT

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def running(kind: str, **options: Any) -> Iterator[str]:
    """A fake for the length of a with block; gives the port of it."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    process = subprocess.Popen(
        [sys.executable, "-m", f"fakes.{kind}", json.dumps(options)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        port = process.stdout.readline().strip()
        assert port, f"the fake {kind} did not start"
        yield port
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
