"""Counts of what the reliability tests did and found, since the last `make test` began.

They are in build/reliability.json; `make soak` and `make prove` add to them.
"""

# SPDX-License-Identifier: MIT

import fcntl
import json
import os
from pathlib import Path

from wage_host.files import write_whole

ROOT = Path(__file__).resolve().parents[1]
FILE = Path(os.environ.get("WAGE_RELIABILITY") or ROOT / "build/reliability.json")


def forget() -> None:
    """Counting begins anew."""
    FILE.unlink(missing_ok=True)


def record(**counts: float) -> None:
    """Adds to the counts; safe when several processes do it at once."""
    FILE.parent.mkdir(exist_ok=True)
    with FILE.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        total = json.loads(FILE.read_text()) if FILE.exists() else {}
        for name, count in counts.items():
            total[name] = total.get(name, 0) + count
        write_whole(FILE, (json.dumps(total, indent=1, sort_keys=True) + "\n").encode())
