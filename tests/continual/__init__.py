"""Continual learning measured: benchmarks, strategies, their float twins, the page of figures."""

# SPDX-License-Identifier: MIT
