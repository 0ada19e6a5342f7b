"""Compiles the C runtime, the serve loop and the simulated board into wage_host._core.

The declarations are cut out of the C headers themselves, between their marks `cffi begin`
and `cffi end`: Python has no second copy of a constant.
"""

from pathlib import Path

from cffi import FFI

ROOT = Path(__file__).resolve().parents[2]
HEADERS = [
    "runtime/wage.h",
    "runtime/num.h",
    "runtime/layer.h",
    "runtime/wire.h",
    "firmware/src/serve.h",
    "boards/sim/sim.h",
]
FOLDERS = ["runtime", "firmware/src", "boards/sim"]


def declarations() -> str:
    """The parts of the C headers that Python shares."""
    parts = ["struct port;"]
    for name in HEADERS:
        text = (ROOT / name).read_text(encoding="utf-8")
        parts.append(text.split("/* cffi begin */")[1].split("/* cffi end */")[0])
    return "\n".join(parts)


def sources() -> list[str]:
    """C files of the extension, relative to the project."""
    files = sorted((ROOT / "runtime").glob("*.c"))
    files += [ROOT / "firmware/src/serve.c", ROOT / "boards/sim/port.c"]
    return [str(file.relative_to(ROOT)) for file in files]


ffi = FFI()
ffi.cdef(declarations())
ffi.set_source(
    "wage_host._core",
    "\n".join(f'#include "{Path(name).name}"' for name in HEADERS),
    sources=sources(),
    include_dirs=FOLDERS,
    depends=[str(p.relative_to(ROOT)) for f in FOLDERS for p in (ROOT / f).glob("*.h")],
    extra_compile_args=["-std=c99", "-O3"],
    py_limited_api=True,
)
