"""An Arduino library out of the tree: runtime, serve loop, port, and a sketch with a model.

assemble(Path("WAGE"), blob)        # a folder for the libraries folder of the Arduino IDE
assemble(Path("WAGE.zip"), blob)    # for: Sketch, Include Library, Add .ZIP Library
"""

# SPDX-License-Identifier: MIT

import io
import zipfile
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from wage_host import core, fit
from wage_host.emulate import tree
from wage_host.errors import FileError
from wage_host.files import write_whole

ROW = 20  # bytes of a model in a line of C
WHEN = (1980, 1, 1, 0, 0, 0)  # of all files in a zip: the same parts make the same bytes


def about() -> dict[str, str]:
    """What the library says of itself, from the package that this is."""
    package = metadata.metadata("wage-host")
    return {
        "name": "WAGE",
        "version": package["Version"],
        "author": "The WAGE authors",
        "sentence": "A board that goes on learning, in integers only.",
        "paragraph": package["Summary"],
        "category": "Data Processing",
    }


def properties(of: Mapping[str, str]) -> str:
    """The text of library.properties."""
    own = {"maintainer": of["author"], "architectures": "*", "includes": "WageBoard.h"}
    return "".join(f"{key}={value}\n" for key, value in ({**own, **of}).items())


def memory_bytes(blob: bytes) -> int:
    """Bytes of RAM for a model's arena and for the frames of the link."""
    return core.info(blob).arena_bytes + fit.frames_bytes(blob)


def model_header(blob: bytes) -> str:
    """The model as a C array, which stays in flash, and the memory that it needs."""
    sense_bytes = fit.frames_bytes(blob, senses=True) - fit.frames_bytes(blob)
    rows = (",".join(map(str, blob[at : at + ROW])) for at in range(0, len(blob), ROW))
    return (
        "// The model. On AVR it has at most 32,767 bytes, in the first 64 KB of flash.\n"
        f"#define MODEL_MEMORY_BYTES {memory_bytes(blob)}\n"
        f"#define MODEL_INPUT_BYTES {core.info(blob).input_bytes}\n"
        f"#define MODEL_SENSE_BYTES {sense_bytes}\n\n"
        "static const uint8_t model[] PROGMEM __attribute__((aligned(4))) = {\n"
        + ",\n".join(rows)
        + "\n};\n"
    )


def files(blob: bytes, of: Mapping[str, str] | None = None) -> dict[str, bytes]:
    """Every file of the library, by its name; `of` replaces about()."""
    root = tree()
    # in a folder of their own: src/ is on the path, where wire.h would be taken for Wire.h
    parts = [*(root / "runtime").glob("*.[ch]"), root / "boards/arduino/port.cpp"]
    parts += [p for p in (root / "firmware/src").rglob("*.[ch]") if p.name != "main.c"]
    out = {"library.properties": properties(of or about()).encode()}
    for path in sorted(parts):
        inner = "blake2b/" if path.parent.name == "blake2b" else ""
        out[f"src/wage/{inner}{path.name}"] = path.read_bytes()
    arduino = root / "boards/arduino"
    manual = (arduino / "WageBoard.h").read_text(encoding="utf-8")
    out["src/WageBoard.h"] = manual.replace('"field.h"', '"wage/field.h"').encode()
    for name in ("learn", "sense"):
        out[f"examples/{name}/{name}.ino"] = (arduino / name / f"{name}.ino").read_bytes()
        out[f"examples/{name}/model.h"] = model_header(blob).encode()
    if (root / "LICENSE").is_file():
        out["LICENSE"] = (root / "LICENSE").read_bytes()
    return out


def assemble(to: Path, blob: bytes, of: Mapping[str, str] | None = None) -> None:
    """Writes the library into a new folder, or whole into a file when its name ends in .zip."""
    parts = files(blob, of)
    if to.suffix == ".zip":
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in parts.items():
                archive.writestr(zipfile.ZipInfo(f"WAGE/{name}", WHEN), content)
        write_whole(to, packed.getvalue())
        return
    try:
        to.mkdir(parents=True)
        for name, content in parts.items():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            (to / name).write_bytes(content)
    except OSError as error:
        raise FileError(f"cannot make the library in {to}: {error.strerror}") from None
