"""make accuracy: runs what is missing of the table, two runs at a time, and writes it.

PYTHONPATH=tests python -m accuracy run [NAME…]      tasks, modes (task.mode) or seeds; or all
PYTHONPATH=tests python -m accuracy shard NAME…      the same, one after another, in this process
PYTHONPATH=tests python -m accuracy choose TASK.MODE…    tries its settings on validation
PYTHONPATH=tests python -m accuracy summary          docs/accuracy.json and docs/accuracy.md
PYTHONPATH=tests python -m accuracy list             what there is and what is done
"""

# SPDX-License-Identifier: MIT

import argparse
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from wage_host.errors import WrongUsage

from accuracy import shards, summary
from accuracy.command import ended, expected_s, say, time_left
from accuracy.table import TASKS


def left(waiting: list[shards.Shard], workers: int) -> str:
    """How long these runs take, as far as their other seeds tell."""
    others = (
        [shards.result(shards.Shard(shard.task, shard.mode, seed)) for seed in shard.task.seeds]
        for shard in waiting
    )
    return time_left([expected_s(found) for found in others], workers)


def run_all(names: list[str], workers: int, data: Path | None) -> int:
    """Runs the missing shards; how many failed."""
    missing = [shard for shard in shards.chosen(names) if not shards.result(shard)]
    waiting, failed = list(missing), []
    say(f"{left(waiting, workers)}; Ctrl-C stops, and the same command goes on")

    def one(shard: shards.Shard) -> None:
        command = [sys.executable, "-m", "accuracy", "shard", shard.name]
        command += ["--data", str(data)] if data else []
        one_core = {**os.environ, "OMP_NUM_THREADS": "1"}
        child = subprocess.run(command, env=one_core, check=False)
        waiting.remove(shard)
        if child.returncode:
            failed.append(shard.name)
        say(left(waiting, workers))

    with ThreadPoolExecutor(workers) as pool:
        try:
            list(pool.map(one, missing))
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            raise
    for name in failed:
        say(f"{name} failed: its message is above")
    return len(failed)


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="accuracy", description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["run", "shard", "choose", "summary", "list"])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--data", type=Path, help="the folder of data sets; default: WAGE_DATA")
    options = parser.parse_args(arguments)
    return ended(lambda: work(options))


def work(options: argparse.Namespace) -> int:
    """Does what the command says."""
    if options.what != "choose" and not shards.chosen(options.names):
        raise WrongUsage(f"the table has no {' or '.join(options.names)}: see list")
    if options.what == "list":
        for shard in shards.chosen(options.names):
            found = shards.result(shard)
            print(shard.name, f"{100 * found['test']:.2f} %" if found else "to do")
    elif options.what == "shard":
        for shard in shards.chosen(options.names):
            shards.run(shard, say, options.data)
    elif options.what == "choose":
        for name in options.names:
            task, mode = name.split(".")
            shards.choose(TASKS[task], mode, say, options.data)
    else:
        failed = (
            run_all(options.names, options.workers, options.data) if options.what == "run" else 0
        )
        summary.write()
        return 1 if failed else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
