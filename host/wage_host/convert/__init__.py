"""Models that others made: a file becomes one small graph, is folded, quantised, and packed."""
