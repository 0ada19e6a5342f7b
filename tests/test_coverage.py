"""All lines and branches of the C core are reached by tests, but those of c_coverage.EXCLUDED."""

# SPDX-License-Identifier: MIT

import c_coverage
import pytest
import reliability


@pytest.mark.timeout(600)
def test_what_is_not_reached_is_excluded_with_a_reason():
    files = c_coverage.measure()
    c_coverage.REPORT.write_text(c_coverage.report(files), encoding="utf-8")
    assert len(files) > 20
    found = c_coverage.total(files.values())
    parts = c_coverage.total(files[name] for name in c_coverage.MCDC)
    reliability.record(
        line_coverage=found.lines.percent,
        branch_coverage=found.branches.percent,
        mcdc=parts.conditions.percent,  # of decoder, loader and choice of slot
    )
    assert set(c_coverage.gaps(files)) == set(c_coverage.EXCLUDED)
    excluded = found.lines.all - found.lines.reached
    assert excluded <= found.lines.all // 100
