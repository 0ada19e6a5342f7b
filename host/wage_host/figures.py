"""What is worked out of a logged run: loss, accuracy, times. The log itself keeps integers."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np

from wage_host.log import Log

UNIT = 1 << 14  # of p_label


def loss(p_label: np.ndarray | int) -> np.ndarray:
    """Cross entropy in nats, -ln p of the label; p_label in 2^-14, where 0 counts as 1."""
    return -np.log(np.maximum(p_label, 1) / UNIT)


def fresh(records: np.ndarray) -> np.ndarray:
    """Records of samples that were learned now, in order; of one learned twice the last."""
    kept = records[~records["known"] & (records["label"] >= 0)]
    _, from_end = np.unique(kept["id"][::-1], return_index=True)
    return kept[np.sort(len(kept) - 1 - from_end)]


def seconds(run: dict[str, Any]) -> float:
    """How long a run took, or has taken so far; none if the clock was set back."""
    begin, end = (datetime.fromisoformat(run[k] or run["touched"]) for k in ("started", "ended"))
    return max((end - begin).total_seconds(), 0.0)


def of_run(log: Log, run: dict[str, Any]) -> dict[str, Any]:
    """Figures of a run (a row of log.runs()), None where there is none.

    samples; right: share answered right before it was learned; loss: mean; skipped; ms: median
    time of a sample; before, after: accuracy of the first and last evaluation; seconds; faults;
    saves; uj_step: energy of a step, with uj_kind measured or estimate; weight_crc.
    """
    with log.whole():
        return _of_run(log, run)


def _of_run(log: Log, run: dict[str, Any]) -> dict[str, Any]:
    records, tests = fresh(log.records(run["id"])), log.evaluations(run["id"])
    whats = [event["what"] for event in log.events(run["id"])]
    timed = records["us"][records["us"] > 0]
    shares = [float(np.mean(e["labels"] == e["predictions"])) for e in tests if len(e["labels"])]
    sql = "SELECT joules, kind FROM energy WHERE run = ? AND what = 'step' ORDER BY kind DESC, n"
    energy = log.read(sql, run["id"])
    some = len(records) > 0
    return {
        "samples": len(records),
        "right": float(np.mean(records["label"] == records["prediction"])) if some else None,
        "loss": float(np.mean(loss(records["p_label"]))) if some else None,
        "skipped": int(records["skipped"].sum()),
        "ms": float(np.median(timed)) / 1e3 if len(timed) else None,
        "before": shares[0] if len(shares) > 1 else None,
        "after": shares[-1] if shares else None,
        "seconds": seconds(run),
        "faults": whats.count("fault"),
        "saves": whats.count("save"),
        "uj_step": energy[-1]["joules"] * 1e6 if energy else None,
        "uj_kind": energy[-1]["kind"] if energy else None,
        "weight_crc": run["summary"].get("weight_crc"),
    }
