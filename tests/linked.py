"""What of an image comes from where, by the linker's map."""

# SPDX-License-Identifier: MIT

import re
from collections import Counter
from pathlib import Path

# a section, its address and size, the object: on one line, or broken behind a long name
PIECE = re.compile(r"^ (\.\S+)\s+0x[0-9a-f]+\s+0x([0-9a-f]+)\s(\S.*)$", re.MULTILINE)
WIRE = "runtime/wire.o"  # goes with the serve loop; the arithmetic needs none
PARTS = (  # of an object's path, the part it counts as
    (r"libruntime\.a\((\w+)\.o\)$", "runtime"),
    (r"/src/(?:\w+/)*(\w+)\.o$", "firmware"),
    (r"/port/(\w+)\.o$", "port"),
    (r"/parts/(\w+)\.o$", "parts"),
    (r"/model/(\w+)\.o$", "model"),
    (r"/lib\w+\.a\((\S+)\.o\)$", "compiler"),
    (r"/(crt\w+)\.o$", "compiler"),
)


def flash(path: Path) -> Counter[str]:
    """Bytes of code and constants in an image by object, as `runtime/step.o`."""
    text = path.read_text(encoding="utf-8").partition("\nLinker script and memory map\n")[2]
    sizes: Counter[str] = Counter()
    for section, size, source in PIECE.findall(text):
        if section.startswith((".text", ".rodata", ".start", ".data", ".ARM.ex")):
            sizes[_object(source)] += int(size, 16)
    return sizes


def _object(source: str) -> str:
    for pattern, part in PARTS:
        if match := re.search(pattern, source):
            return f"{part}/{match[1]}.o"
    raise AssertionError(f"of what is {source}?")


def runtime_bytes(sizes: Counter[str]) -> int:
    """Of the trainer: what is in runtime/ but the wire."""
    return sum(n for name, n in sizes.items() if name.startswith("runtime/") and name != WIRE)


def serving_bytes(sizes: Counter[str]) -> int:
    """Of the serve loop and the wire."""
    return sizes[WIRE] + sum(n for name, n in sizes.items() if name.startswith("firmware/"))
