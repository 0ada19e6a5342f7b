"""How much of the C core the tests of its parts reach: lines, branches, MC/DC.

    .venv/bin/python tests/c_coverage.py

builds wage_host with clang's source-based coverage, runs TESTS on it in a process of their own
and writes build/coverage.txt. What they do not reach must be in EXCLUDED, with the reason.
"""

# SPDX-License-Identifier: MIT

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import native
from wage_host import build_core

MEASURED = ("runtime", "firmware/src")
# decoder, loader, choice of slot
MCDC = ("runtime/wire.c", "runtime/blob.c", "runtime/persist.c", "runtime/store.c")
BUILD = native.ROOT / "build/coverage"
REPORT = native.ROOT / "build/coverage.txt"
TESTS = (
    "test_runtime.py", "test_runtime_blobs.py", "test_runtime_errors.py", "test_runtime_layers.py",
    "test_runtime_update.py", "test_persist.py", "test_slots.py", "test_guard.py", "test_wire.py",
    "test_protocol.py", "test_recover.py", "test_edges.py", "test_phase.py", "test_field.py",
    "test_record.py", "test_board_faults.py", "test_auth.py", "test_push.py",
    "test_fuzz.py::test_frames_are_refused_by_name_or_accepted",
    "test_fuzz.py::test_every_refusal_of_the_serve_loop",
    "test_fuzz.py::test_stores_are_refused_or_restored_within_ranges",
    "test_pull.py::test_weights_are_read_in_canonical_order_in_any_parts",
    "test_pull.py::test_pulled_model_predicts_as_the_board",
    "test_verify.py::test_board_is_verified_and_left_as_it_was",
    "test_data_extras.py", "test_data_logmel.py",
    "test_parity.py::test_random_model_learns_the_same",
    "test_link_faults.py::test_every_fault_occurs",
    "test_layers.py::test_row_by_row_is_as_by_gradients",
    "test_layers.py::test_rows_too_long_for_pairs", "test_strategies.py",
    "test_classes.py::test_requests_about_no_class_are_refused",
    "test_classes.py::test_a_store_that_fails_is_told_and_forgets_when_asked_again",
)  # fmt: skip
# take long and reach nothing more
LEFT_OUT = (
    "figures or mistake or alive or emulated or prepares_nothing or test_command"
    " or image_that_tells"
)
FLAGS = ("-fprofile-instr-generate", "-fcoverage-mapping", "-fcoverage-mcdc")
PLAIN = ("-std=c99", "-O1", "-fPIC", "-DNDEBUG", "-w")
# What is not reached, as gaps() words it, and why.
BOARD = "the loop of a board; the emulated ones run it in every test of theirs"
ONE_MODEL = "a build for one model, WAGE_LAYERS: test_layers.py and the images of boards run it"
EXCLUDED = {
    "firmware/src/main.c: {": BOARD,
    "firmware/src/main.c: static struct serve serve;": BOARD,
    "firmware/src/main.c: struct port *port = board_open();": BOARD,
    "firmware/src/main.c: for (;;) {": BOARD,
    "firmware/src/main.c: while (serve_open(&serve, port) != WAGE_OK) {}": BOARD,
    "firmware/src/main.c: while (serve_poll(&serve) >= 0) {}": BOARD,
    "firmware/src/main.c: }": BOARD,
    "firmware/src/main.c: } (2)": BOARD,
    "firmware/src/main.c, main: serve_open(&serve, port) != WAGE_OK: never true": BOARD,
    "firmware/src/main.c, main: serve_open(&serve, port) != WAGE_OK: never false": BOARD,
    "firmware/src/main.c, main: serve_poll(&serve) >= 0: never true": BOARD,
    "firmware/src/main.c, main: serve_poll(&serve) >= 0: never false": BOARD,
    "firmware/src/requests.c, take: error: never true":
        "label and id were checked before: wage_learn() has nothing left to refuse",
    "firmware/src/serve.c, serve_reply: count > 0: never false":
        "serve_open() makes room for the longest answer; without room nothing is sent",
    "runtime/blob.c: return 1;": ONE_MODEL,
    "runtime/blob.c: error = WAGE_E_KIND;": ONE_MODEL,
    "runtime/blob.c, check_kind: left_out(l, r[2] & BIASED, r[2] & FIXED): never true": ONE_MODEL,
    "runtime/blob.c, left_out: !WAGE_HAS: never true": ONE_MODEL,
    **{
        f"runtime/blob.c, {condition}: never {way}": ONE_MODEL
        for condition in (
            "left_out: !l->halves_up", "left_out: l->store_bits != l->weight_bits",
            "wage_blob_read: w->momentum", "wage_blob_read: w->batch != 1",
        )
        for way in ("true", "false")
    },
    "runtime/blob.c, wage_blob_read: (h[31] & (FLAGS & ~FLAGS_HERE)): never true": ONE_MODEL,
    "runtime/layer.h, wage_is: ((WAGE_LAYERS & 1ul << (bit)) != 0): never false": ONE_MODEL,
    "runtime/step.c, learn_layer: wage_is(l, WAGE_DENSE): never false": ONE_MODEL,
    "runtime/step.c, backward: k-- > w->frozen_count: never false":
        "the first trainable layer asks for no error below it, which ends the loop before",
}  # fmt: skip


@dataclasses.dataclass
class Share:
    """So many of so many."""

    reached: int = 0
    all: int = 0

    def add(self, reached: bool) -> None:
        """One more."""
        self.reached += reached
        self.all += 1

    def __add__(self, other: "Share") -> "Share":
        return Share(self.reached + other.reached, self.all + other.all)

    @property
    def percent(self) -> float:
        """In percent, rounded down to hundredths: 100 only when nothing is missing."""
        return self.reached * 10_000 // self.all / 100 if self.all else 100.0


@dataclasses.dataclass
class File:
    """What was reached of a file, and what was not, in words."""

    lines: Share = dataclasses.field(default_factory=Share)
    branches: Share = dataclasses.field(default_factory=Share)
    conditions: Share = dataclasses.field(default_factory=Share)
    missed_lines: list[str] = dataclasses.field(default_factory=list)
    missed_branches: list[str] = dataclasses.field(default_factory=list)
    missed_conditions: list[str] = dataclasses.field(default_factory=list)


# -- build and run -------------------------------------------------------------


def build() -> Path:
    """Compiles the package with counters in the measured files: its library."""
    shutil.rmtree(BUILD, ignore_errors=True)
    package = BUILD / "host/wage_host"
    shutil.copytree(
        native.ROOT / "host/wage_host", package, ignore=shutil.ignore_patterns("_core*", "*.pyc")
    )
    for folder in ("runtime", "firmware", "boards", "host/kernels", "tests"):  # what it seeks
        (BUILD / folder).symlink_to(native.ROOT / folder)
    build_core.ffi.emit_c_code(str(BUILD / "_core.c"))
    board = BUILD / "board.c"  # main() needs one; it is not called
    board.write_text("struct port *board_open(void);\nstruct port *board_open(void){return 0;}\n")
    counted = [p for folder in MEASURED for p in sorted((native.ROOT / folder).glob("*.c"))]
    others = [
        *sorted((native.ROOT / "host/kernels").glob("*.c")),
        native.ROOT / "boards/sim/port.c",
        native.ROOT / "firmware/src/blake2b/blake2b.c",  # another author's, with tests of its own
    ]
    folders = [f"-I{native.ROOT / folder}" for folder in build_core.FOLDERS]
    folders += [f"-D{name}={value}" for name, value in build_core.DEFINES]
    folders.append(f"-I{sysconfig.get_path('include')}")
    jobs = []
    for number, path in enumerate([*counted, BUILD / "_core.c", *others, board]):
        flags = FLAGS if number <= len(counted) else ()
        command = [
            native.clang(),
            *PLAIN,
            *flags,
            *folders,
            "-c",
            path,
            "-o",
            BUILD / f"{number}.o",
        ]
        jobs.append(subprocess.Popen(command))
    assert not any(job.wait() for job in jobs)
    library = package / "_core.so"
    command = [native.clang(), "-shared", *FLAGS, *BUILD.glob("*.o"), "-o", library]
    subprocess.run(command, check=True)
    return library


def run_tests() -> None:
    """Runs TESTS on the package that counts."""
    own = {
        "PYTHONPATH": str(BUILD / "host"),
        "LLVM_PROFILE_FILE": str(BUILD / "%p.profraw"),
        "WAGE_RELIABILITY": str(BUILD / "reliability.json"),
        "WAGE_KERNELS": "0",
        "WAGE_COVERAGE_FLAGS": " ".join((*FLAGS, "-Wno-error")),
    }
    tests = [str(native.ROOT / "tests" / name) for name in TESTS]
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    command += ["-m", "not soak", "-k", f"not ({LEFT_OUT})", "--durations=15"]
    done = subprocess.run(
        [*command, *tests], cwd=native.ROOT, env=os.environ | own, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    (BUILD / "tests.log").write_text(done.stdout, encoding="utf-8")
    assert done.returncode == 0, done.stdout[-6000:]


def export(library: Path, kind: str) -> str:
    """What llvm-cov knows, as JSON (text) or lcov."""
    merged = BUILD / "merged.profdata"
    raw = [str(path) for path in BUILD.glob("*.profraw")]
    subprocess.run([native.clang("llvm-profdata"), "merge", "-o", merged, *raw], check=True)
    command = [native.clang("llvm-cov"), "export", f"-format={kind}", "-instr-profile", merged]
    done = subprocess.run([*command, library], capture_output=True, text=True, check=True)
    return done.stdout


# -- what was reached ------------------------------------------------------------


def inside(path: str) -> str | None:
    """The path in the project of a measured file."""
    if not (whole := Path(path)).is_relative_to(native.ROOT):
        return None
    name = whole.relative_to(native.ROOT).as_posix()
    return name if any(Path(name).parent == Path(folder) for folder in MEASURED) else None


def count_lines(lcov: str, files: dict[str, File]) -> None:
    """Lines, from records `SF:path` and `DA:line,count`."""
    name = None
    for line in lcov.splitlines():
        if line.startswith("SF:"):
            name = inside(line[3:])
        elif line.startswith("DA:") and name:
            number, count = (int(n) for n in line[3:].split(",")[:2])
            file = files.setdefault(name, File())
            file.lines.add(count > 0)
            if not count:
                file.missed_lines.append(f"{name}: {text_of(name)[number - 1].strip()}")


def text_of(name: str) -> list[str]:
    """The lines of a file."""
    return (native.ROOT / name).read_text(encoding="utf-8").splitlines()


def expression(name: str, place: Iterable[int]) -> str:
    """The source from (line, column) to (line, column), on one line."""
    top, left, bottom, right = place
    lines = text_of(name)[top - 1 : bottom]
    lines[-1] = lines[-1][: right - 1]
    lines[0] = lines[0][left - 1 :]
    return " ".join(" ".join(lines).split())


def count_branches(functions: list[dict], files: dict[str, File]) -> None:
    """Branches: each expression true and false, counted once wherever it is compiled into."""
    taken: dict[tuple, list[int]] = {}
    for function in functions:
        for *place, yes, no, file, _, _kind in function["branches"]:
            if name := inside(function["filenames"][file]):
                key = (name, function["name"].rpartition(":")[2], *place)
                sums = taken.setdefault(key, [0, 0])
                sums[0], sums[1] = sums[0] + yes, sums[1] + no
    for (name, function, *place), sums in sorted(taken.items()):
        for outcome, count in zip(("true", "false"), sums, strict=True):
            files[name].branches.add(count > 0)
            if not count:
                what = f"{name}, {function}: {expression(name, place)}: never {outcome}"
                files[name].missed_branches.append(what)


def count_conditions(functions: list[dict], files: dict[str, File]) -> None:
    """MC/DC: conditions of decisions that were shown to decide, by themselves, the outcome."""
    shown: dict[tuple, list[bool]] = {}
    for function in functions:
        for *place, _file, _kind, conditions in function["mcdc_records"]:
            if name := inside(function["filenames"][0]):
                key = (name, function["name"].rpartition(":")[2], *place)
                before = shown.get(key, [False] * len(conditions))
                shown[key] = [a or b for a, b in zip(before, conditions, strict=True)]
    for (name, function, *place), conditions in sorted(shown.items()):
        for number, independent in enumerate(conditions, 1):
            files[name].conditions.add(independent)
            if not independent:
                what = f"{name}, {function}: condition {number} of {expression(name, place)}"
                files[name].missed_conditions.append(what)


def measure() -> dict[str, File]:
    """Builds, runs and counts."""
    library = build()
    run_tests()
    files: dict[str, File] = {}
    count_lines(export(library, "lcov"), files)
    functions = json.loads(export(library, "text"))["data"][0]["functions"]
    count_branches(functions, files)
    count_conditions(functions, files)
    return dict(sorted(files.items()))


# -- the report ----------------------------------------------------------------


def gaps(files: dict[str, File]) -> list[str]:
    """Lines and branches that were not reached; the second of two alike ends in (2)."""
    seen: Counter[str] = Counter()
    found = []
    for file in files.values():
        for what in (*file.missed_lines, *file.missed_branches):
            seen[what] += 1
            found.append(what if seen[what] == 1 else f"{what} ({seen[what]})")
    return found


def report(files: dict[str, File]) -> str:
    """A table by file, and all that is missing."""
    kinds = ("lines", "branches", "conditions")
    rows = [("", "lines", "branches", "MC/DC")]
    for name, file in [*files.items(), ("all", total(files.values()))]:
        shares = [getattr(file, kind) for kind in kinds]
        rows.append((name, *(f"{s.percent:.2f} % of {s.all}" for s in shares)))
    text = "\n".join(f"{row[0]:26}" + "".join(f"{cell:>20}" for cell in row[1:]) for row in rows)
    missing = [f"{'  ' if what in EXCLUDED else '! '}{what}" for what in gaps(files)]
    shown = [what for file in files.values() for what in file.missed_conditions]
    return "\n".join(
        [text, "", "Not reached (!: and not excluded):", *missing, "",
         "Conditions that were not shown to decide by themselves:", *shown, ""]
    )  # fmt: skip


def total(files: Iterable[File]) -> File:
    """The sums."""
    all_files = list(files)
    return File(
        sum((file.lines for file in all_files), Share()),
        sum((file.branches for file in all_files), Share()),
        sum((file.conditions for file in all_files), Share()),
    )


if __name__ == "__main__":
    found = measure()
    REPORT.write_text(report(found), encoding="utf-8")
    print(report(found))
    sys.exit(set(gaps(found)) != set(EXCLUDED))
