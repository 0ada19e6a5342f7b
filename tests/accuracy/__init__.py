"""The accuracy of whole networks: the table, its shards, float twins, the summary."""

# SPDX-License-Identifier: MIT
