"""Our PPK2 driver against the simulator of another author, as an independent oracle."""

# SPDX-License-Identifier: MIT

import numpy as np
import pytest
from fakes import running
from measure import cut, mean_watts, record, steps
from wage_host.power import phases

pytest.importorskip("ppk2lab", reason="ppk2lab needs Python 3.11")
GAPS = [[2000, 1], [5000, 17], [9000, 63]]


def test_energy_and_pins():
    with running("ppk2lab_sim", steps=steps(40)) as port:
        trace, heard = record(f"ppk2:{port}", 50_000)
    assert not trace.gaps, heard
    begin, end = cut(trace, 0.02)
    true = mean_watts(steps(40), 3.0) * (end - begin)
    assert abs(trace.joules(begin, end) / true - 1) < 1e-3
    edges = np.round(phases.of(trace).begin_s * 1e5).astype(int)
    assert {edge % 2000 for edge in edges} == {0, 200, 1000, 1320, 1480}


def test_gaps():
    # currents that waver, as real ones do: else a loss of 63 looks like a sample that came twice
    wavering = [(1, 0.004 + 0.0001 * (k % 7), 2) for k in range(70)]
    with running("ppk2lab_sim", steps=wavering, gaps=GAPS) as port:
        trace, _ = record(f"ppk2:{port}", 20_000)
    assert [[round(gap.at_s * 1e5), gap.samples] for gap in trace.gaps] == GAPS
    assert {gap.kind for gap in trace.gaps} == {"lost"}
