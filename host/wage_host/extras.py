"""What a blob carries beside layers and samples: pre-processing and names of classes (SPEC 9.7)."""

import dataclasses
import struct

from wage_host._core import lib
from wage_host.errors import ModelError

CONTENTS_MAX = 30_000  # bytes of all names, or of all steps: the size of both has 16 bits


@dataclasses.dataclass(frozen=True)
class Step:
    """One step of pre-processing: enum wage_step and integer parameters (SPEC 10.2)."""

    kind: int
    params: tuple[int, ...] = ()

    def pack(self) -> bytes:
        """Its bytes in a blob."""
        count = len(self.params)
        return struct.pack(f"<BxH{count}i", self.kind, count, *self.params)


@dataclasses.dataclass(frozen=True)
class Extras:
    """Steps from a sample as it was recorded to the model's input; a name for each class."""

    steps: tuple[Step, ...] = ()
    names: tuple[str, ...] = ()


NOTHING = Extras()


def pack(extras: Extras) -> bytes:
    """The section as it lies behind the layer records; nothing when there is nothing to say."""
    body = b""
    steps = b"".join(step.pack() for step in extras.steps)
    names = b"".join(name.encode() + b"\0" for name in extras.names)
    if any("\0" in name for name in extras.names):
        raise ModelError("the name of a class has a zero byte: choose another")
    for kind, contents in ((lib.WAGE_EXTRA_PREPARE, steps), (lib.WAGE_EXTRA_NAMES, names)):
        if len(contents) > CONTENTS_MAX:
            raise ModelError("names of classes or pre-processing are too long: shorten them")
        if contents:
            body += struct.pack("<BxH", kind, len(contents)) + contents
    return struct.pack("<HBx", 4 + len(body), lib.WAGE_EXTRAS_FORMAT) + body if body else b""


def of(blob: bytes) -> Extras:
    """The extras of a blob that the loader has accepted."""
    if not blob[31] & lib.WAGE_EXTRAS:
        return NOTHING
    at = lib.WAGE_HEADER_BYTES + blob[16] * lib.WAGE_RECORD_BYTES
    (total,) = struct.unpack_from("<H", blob, at)
    end, at, found = at + total, at + 4, {}
    while at < end:
        kind, count = struct.unpack_from("<BxH", blob, at)
        found[kind] = blob[at + 4 : at + 4 + count]
        at += 4 + count
    names = found.get(lib.WAGE_EXTRA_NAMES, b"").split(b"\0")[:-1]
    steps = tuple(_steps(found.get(lib.WAGE_EXTRA_PREPARE, b"")))
    return Extras(steps, tuple(name.decode("utf-8", "replace") for name in names))


def _steps(contents: bytes) -> list[Step]:
    at, out = 0, []
    while at < len(contents):
        kind, count = struct.unpack_from("<BxH", contents, at)
        out.append(Step(kind, struct.unpack_from(f"<{count}i", contents, at + 4)))
        at += 4 + 4 * count
    return out
