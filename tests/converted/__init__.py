"""Models that PyTorch trained, to be converted: nets, data, and the table docs/convert.md."""

# SPDX-License-Identifier: MIT
