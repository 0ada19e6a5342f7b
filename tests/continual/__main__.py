"""make continual: runs what is missing of the table, one run after another, and writes the page.

PYTHONPATH=tests python -m continual run [NAME…]     benchmarks, strategies (split-mnist.naive) or
                                                     seeds of them; or all
PYTHONPATH=tests python -m continual choose [KIND…]  tries settings on validation, of `integer`,
                                                     `twin`, `host` or `twin-host`
PYTHONPATH=tests python -m continual summary         docs/continual.json and docs/continual.md
PYTHONPATH=tests python -m continual list            what there is and what is done
"""

# SPDX-License-Identifier: MIT

import argparse
import sys

from accuracy.command import ended, expected_s, say, time_left
from wage_host.errors import ToolMissing, WrongUsage

from continual import costs, page, runs
from continual.runs import Run
from continual.table import CHOICES


def left(waiting: list[Run]) -> str:
    """How long these runs take, as far as their other seeds tell."""
    others = (
        [runs.result(Run(run.benchmark, run.strategy, seed)) for seed in run.benchmark.seeds]
        for run in waiting
    )
    return time_left([expected_s(found) for found in others])


def run_all(names: list[str]) -> None:
    """Does the missing runs; the page is written anew when a benchmark has ended."""
    missing = [run for run in runs.chosen(names) if not runs.result(run)]
    say(f"{left(missing)}; Ctrl-C stops, and the same command goes on")
    for number, run in enumerate(missing, 1):
        found = runs.do(run)
        say(
            f"{run.name}: {100 * found['average_accuracy']:.2f} %, {found['seconds']:.0f} s; "
            f"{left(missing[number:])}"
        )
        page.write()


def count_all(names: list[str]) -> None:
    """Counts the instructions of benchmarks where they are missing, as far as there are tools."""
    for benchmark in {run.benchmark: None for run in runs.chosen(names)}:
        if costs.result(benchmark):
            continue
        try:
            say(f"{benchmark.name}: instructions {costs.measure(benchmark)}")
        except ToolMissing as error:
            say(f"{benchmark.name}: instructions were not counted: {error}")


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="continual", description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["run", "choose", "summary", "list"])
    parser.add_argument("names", nargs="*")
    options = parser.parse_args(arguments)
    return ended(lambda: work(options.what, options.names))


def work(what: str, names: list[str]) -> int:
    """Does what the command says."""
    if what in ("run", "list") and not runs.chosen(names):
        raise WrongUsage(f"the table has no {' or '.join(names)}: see list")
    if what == "list":
        for run in runs.chosen(names):
            found = runs.result(run)
            print(run.name, f"{100 * found['average_accuracy']:.2f} %" if found else "to do")
        return 0
    if what == "choose":
        for kind in names or CHOICES:
            runs.choose(kind, say)
    elif what == "run":
        run_all(names)
        count_all(names)
    page.write()
    return 0


if __name__ == "__main__":
    sys.exit(main())
