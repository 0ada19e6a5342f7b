"""Avalanche's figures of an accuracy matrix, and the interval of a paired difference.

A matrix R has a row before the stream (an untrained net) and one after each of T experiences:
(1 + T, T), the accuracy on each experience's test samples, 0 to 1.
"""

# SPDX-License-Identifier: MIT

import math
import statistics
from collections.abc import Sequence

import numpy as np

# Student's t, two-sided 95 %, for 1, 2, 3, … degrees of freedom.
STUDENT_95 = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622)


def average_accuracy(matrix: np.ndarray, counts: Sequence[int]) -> float:
    """After the last experience, over all test samples; counts: how many each experience has."""
    return float(np.average(matrix[-1], weights=counts))


def forgetting(matrix: np.ndarray) -> float:
    """Mean over all experiences but the last of what was lost since each was learned; -BWT."""
    learned = np.diagonal(matrix[1:])
    return float(np.mean(learned[:-1] - matrix[-1, :-1]))


def forward_transfer(matrix: np.ndarray) -> float:
    """Mean over all experiences but the first: accuracy just before it less an untrained net's."""
    before = np.diagonal(matrix[1:-1, 1:])
    return float(np.mean(before - matrix[0, 1:]))


def interval_95(differences: Sequence[float]) -> tuple[float, float | None]:
    """The mean of paired differences and half its 95 % interval (Student's t); None of one."""
    mean, count = statistics.fmean(differences), len(differences)
    if count < 2:
        return mean, None
    error = statistics.stdev(differences) / math.sqrt(count)
    return mean, STUDENT_95[count - 2] * error
