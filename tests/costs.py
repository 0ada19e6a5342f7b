"""host/wage_host/costs.json: what plan knows of boards and cores, as measured in emulators."""

# SPDX-License-Identifier: MIT

import json

import native

TABLE = native.ROOT / "host/wage_host/costs.json"
Row = dict[str, float]


def read() -> dict[str, dict[str, Row]]:
    """All of it."""
    return json.loads(TABLE.read_text(encoding="utf-8"))


def read_sizes() -> dict[str, Row]:
    """The table of test_size.py, of which boards' figures are taken."""
    return json.loads((native.ROOT / "tests/size.json").read_text(encoding="utf-8"))


def of_board(size: Row) -> Row:
    """What plan needs of a board's sizes: bytes beside the model, of the stack, of its port."""
    return {
        "flash": size["flash beside the model"],
        "stack": size.get("stack, at most", size["of it stack"]),  # of AVR what is reserved
        "memory": size["memory for arena and frames"],
    }


def accept(kind: str, name: str, row: Row) -> None:
    """Writes a row of "boards" or "cores"."""
    table = read()
    table[kind] = dict(sorted((table[kind] | {name: row}).items()))
    TABLE.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
