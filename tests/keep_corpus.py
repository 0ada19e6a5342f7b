"""Fuzzes longer and keeps what reached most: python tests/keep_corpus.py SECONDS [TARGET…].

Writes tests/fuzz/TARGET.zip anew, from the seeds, what was kept before and what was found. An
input that breaks something is named, and nothing is written for its target.
"""

# SPDX-License-Identifier: MIT

import sys
import tempfile
import zipfile
from pathlib import Path

import file_targets
import test_fuzz_host
from test_fuzzers import CORPUS, SEEDS, build, prepare, run


def keep(target: str, seconds: int, folder: Path) -> None:
    """One target."""
    if target in SEEDS:
        program, inputs = [build(target)], prepare(target, folder)
    else:
        program, inputs = test_fuzz_host.command(target), test_fuzz_host.prepare(target, folder)
    done = run(program, inputs, seconds)
    if done.returncode:
        sys.exit(f"{target} broke; the input is in {folder}\n{(done.stdout + done.stderr)[-6000:]}")
    (merged := folder / "merged").mkdir()
    run(program, inputs, 0, "-merge=1", str(merged))
    with zipfile.ZipFile(CORPUS / f"{target}.zip", "w") as kept:
        for path in sorted(merged.iterdir()):
            kept.writestr(zipfile.ZipInfo(path.name), path.read_bytes(), zipfile.ZIP_DEFLATED)
    print(f"{target}: {len(list(merged.iterdir()))} inputs kept")


if __name__ == "__main__":
    for name in sys.argv[2:] or [*SEEDS, *file_targets.SEEDS]:
        keep(name, int(sys.argv[1]), Path(tempfile.mkdtemp()))
