"""Compiles the C runtime, host kernels, the serve loop and the simulated board: wage_host._core.

The declarations are cut out of the C headers themselves, between their marks `cffi begin`
and `cffi end`: Python has no second copy of a constant.
"""

import os
import shlex
import subprocess
import sysconfig
import tempfile
from pathlib import Path

from cffi import FFI

ROOT = Path(__file__).resolve().parents[2]
HEADERS = [
    "runtime/wage.h",
    "runtime/store.h",
    "runtime/classes.h",
    "runtime/guard.h",
    "runtime/push.h",
    "runtime/phase.h",
    "runtime/prepare.h",
    "runtime/num.h",
    "runtime/layer.h",
    "runtime/wire.h",
    "host/kernels/kernels.h",
    "firmware/src/auth.h",
    "firmware/src/field.h",
    "firmware/src/serve.h",
    "boards/sim/sim.h",
]
SERVE = ("serve", "requests", "marks", "field", "keyed", "auth", "blake2b/blake2b")
DEFINES = [("WAGE_PHASES", "1"), ("WAGE_FIELD", "1")]  # the simulated board can do all
FOLDERS = ["runtime", "host/kernels", "firmware/src", "boards/sim"]
OPENMP = "#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n"


def declarations() -> str:
    """The parts of the C headers that Python shares."""
    parts = ["struct port;"]
    for name in HEADERS:
        text = (ROOT / name).read_text(encoding="utf-8")
        parts.append(text.split("/* cffi begin */")[1].split("/* cffi end */")[0])
    return "\n".join(parts).replace("static inline ", "")


def sources() -> list[str]:
    """C files of the extension, relative to the project."""
    files = sorted((ROOT / "runtime").glob("*.c")) + sorted((ROOT / "host/kernels").glob("*.c"))
    files += [ROOT / f"firmware/src/{name}.c" for name in SERVE]
    files += [ROOT / "boards/sim/port.c"]
    return [str(file.relative_to(ROOT)) for file in files]


def openmp() -> list[str]:
    """-fopenmp where the compiler has it: then kernels use all cores, with the same bits.

    No flag names a CPU: one wheel runs everywhere, and kernels choose by themselves.
    """
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "openmp.c")
        source.write_text(OPENMP, encoding="utf-8")
        command = [*compiler, "-fopenmp", str(source), "-o", str(source.with_suffix(".out"))]
        try:
            done = subprocess.run(command, capture_output=True, check=False)
        except OSError:
            return []
    return ["-fopenmp"] if done.returncode == 0 else []


FLAGS = ["/std:c11", "/O2"] if os.name == "nt" else ["-std=c99", "-O3", *openmp()]  # or MSVC's

ffi = FFI()
ffi.cdef(declarations())
ffi.set_source(
    "wage_host._core",
    "\n".join(f'#include "{Path(name).name}"' for name in HEADERS),
    sources=sources(),
    include_dirs=FOLDERS,
    depends=[str(p.relative_to(ROOT)) for f in FOLDERS for p in (ROOT / f).glob("*.h")],
    define_macros=DEFINES,
    extra_compile_args=FLAGS,
    extra_link_args=openmp(),
    py_limited_api=True,
)
