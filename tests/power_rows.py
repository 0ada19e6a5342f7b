"""Rows of power as a measurement leaves them in the log, made up, with known figures."""

# SPDX-License-Identifier: MIT

import json

import numpy as np
from wage_host.log import Log

SECONDS, SAMPLES = 61.7, 6_170_000
CONSTANT_W = {"idle": 3.1e-3, "receive": 5.1e-3, "forward": 13.2e-3, "backward": 14.7e-3,
              "update": 12.7e-3}  # fmt: skip
SPANS_MS = [("idle", 0.8), ("receive", 2.3), ("idle", 0.4),
            *[("forward", 2.3), ("backward", 5.0), ("update", 1.8)] * 3, ("idle", 1.2)]  # fmt: skip
PHASES = [("idle", 4241, 9.1, 28e-3, 0.0), ("receive", 265, 0.61, 3.1e-3, 1.2e-3),
          ("forward", 4240, 9.8, 130e-3, 100e-3), ("backward", 4240, 21.2, 310e-3, 240e-3),
          ("update", 4240, 7.7, 98e-3, 80e-3), ("save", 3, 1.9, 22e-3, 16e-3)]  # fmt: skip
RESULTS = [("inference", 141.2e-6, 101e-6, "measured", "median of 5 windows"),
           ("sample", 2.03e-3, 1.58e-3, "measured", "265 samples"),
           ("step", 126.9e-6, 98.8e-6, "measured", "16 steps a sample; 265 samples")]  # fmt: skip
ESTIMATE = [("inference", 9.1e-6, None, "estimate",
             "673,000 instructions / 64 MHz × 4.6 mA × 3.0 V")]  # fmt: skip
LOST = (12.0, 0.8, 80_000, "lost", "80,000 samples lost")
UNPLUGGED = (44.0, SECONDS - 44.0, 0, "unplugged", "no data on /dev/ttyACM1")


def insert(log: Log, run: int, table: str, columns: str, rows: list[tuple]) -> None:
    """Rows of a table, the run before each."""
    marks = ", ".join("?" * (1 + len(rows[0])))
    sql = f"INSERT INTO {table} (run, {columns}) VALUES ({marks})"
    log.write(run, sql, [(run, *row) for row in rows])


def energies(log: Log, run: int, rows: list[tuple]) -> None:
    """Results alone, as of a run without an instrument."""
    insert(log, run, "energy", "what, joules, joules_above_idle, kind, how", rows)


def measured(log: Log, run: int, gaps: tuple[tuple, ...] = (), parts: int = 1500) -> None:
    """A whole recording: a pause, evaluation, learning, evaluation, and some steps closely."""
    rng = np.random.default_rng(0)
    at = (np.arange(parts) + 0.5) / parts * SECONDS
    mean = np.select([at < 1, at < 7, at < 8, at < 52, at < 53],
                     [3.1e-3, 9.8e-3, 3.1e-3, 14.2e-3, 3.1e-3], 9.8e-3)  # fmt: skip
    curve = np.stack([mean * 0.2, mean, mean * 1.3 + 3e-3 * rng.random(parts)], 1)
    columns = "instrument, started, seconds, samples, rate_hz, lost, repeated, joules, trace, "
    row = ("PPK2 on /dev/ttyACM1", "2026-11-29T10:00:00.000+00:00", SECONDS, SAMPLES, 1e5,
           sum(gap[2] for gap in gaps), 0, float(mean.mean() * SECONDS), "wage-1.npz", "pin", 1e-5,
           "The instrument supplied 3.3 V.", curve.astype("<f4").tobytes())  # fmt: skip
    insert(log, run, "power", columns + "aligned, uncertainty_s, note, curve", [row])
    if gaps:
        insert(log, run, "power_gap", "at_s, seconds, samples, kind, text", list(gaps))
    insert(log, run, "power_phase", "phase, times, seconds, joules, joules_above_idle", PHASES)
    ends = np.cumsum([ms / 1e3 for _, ms in SPANS_MS])
    begins = np.append(0.0, ends[:-1])
    spans = [(b, e, phase) for b, e, (phase, _) in zip(begins, ends, SPANS_MS, strict=True)]
    t = np.arange(0.0, ends[-1], 1e-5)
    steps = np.array([CONSTANT_W[phase] for phase, _ in SPANS_MS])
    watts = steps[np.searchsorted(ends, t, side="right")] + rng.normal(0, 4e-4, len(t))
    samples = np.stack([t, watts], 1).astype("<f4").tobytes()
    insert(log, run, "power_closeup", "samples, phases", [(samples, json.dumps(spans))])
    windows = [("inference", 700 + k, 1.0 + 10.2 * k, 10.2, 0.0988 + 1e-4 * k) for k in range(5)]
    insert(log, run, "power_window", "what, times, begin_s, seconds, joules", windows)
    energies(log, run, RESULTS)
