"""Builds one image: runtime, firmware, the board's port and the model."""

# SPDX-License-Identifier: MIT

import os
import sys
from pathlib import Path

from SCons.Script import Default, DefaultEnvironment

env = DefaultEnvironment()
sys.path.append(str(Path(env.PioPlatform().get_dir(), "builder")))
from layers import ALL, layers_of  # noqa: E402

board = env.BoardConfig()
platform_dir = Path(env.PioPlatform().get_dir()).resolve()
port_dir = platform_dir.parent / env.subst("$BOARD")
parts_dir = platform_dir / "parts"
runtime_dir = platform_dir.parents[1] / "runtime"
FAST = {  # how the few files are compiled that decide how long a step takes
    "inner.c": ["-O2", "-funroll-loops", "--param", "max-unroll-times=4"],
    "turn.c": ["-O2"],
}
WAVES = "demo_waves"  # the demo's inputs, parts/waves.c
WARNINGS = ["-Wall", "-Wextra", "-Wconversion", "-Werror", "-pedantic"]


def stop(text: str) -> None:
    """Ends the build with one line that says what to do."""
    sys.stderr.write(f"error: {text}\n")
    env.Exit(1)


def model_file() -> Path:
    """The blob that goes into the image."""
    how = f"run: WAGE_MODEL=/path/to/model.wage pio run -e {env.subst('$PIOENV')}"
    name = os.environ.get("WAGE_MODEL") or env.GetProjectOption("custom_model", "")
    if not name:
        stop(f"no model: {how}")
    path = Path(env.subst("$PROJECT_DIR"), name).resolve()
    if not path.is_file() or not path.stat().st_size:
        stop(f"no model: WAGE_MODEL names {path}, no file or an empty one; {how}")
    most = board.get("build.blob_bytes_max", "")
    if most and path.stat().st_size > int(most):
        stop(f"a model of {path.stat().st_size} bytes: this board takes {most} at most")
    return path


def key_files() -> list[str]:
    """The file of the link's key, 64 hex digits, when WAGE_KEY names one."""
    name = os.environ.get("WAGE_KEY")
    if not name:
        return []
    path = Path(name).resolve()
    digits = path.read_text(encoding="ascii", errors="replace").strip() if path.is_file() else ""
    if len(digits) != 64 or not set(digits) <= set("0123456789abcdef"):
        stop(f"no key: WAGE_KEY names {path}; make one: wage-host key {path}")
    return [str(path)]


def layers() -> str:
    """What of the runtime is compiled in: what the model needs, or all with WAGE_LAYERS=all."""
    every = env.IsIntegrationDump() or os.environ.get("WAGE_LAYERS") == "all"
    return f"{ALL if every else layers_of(model_file().read_bytes()):#x}ul"


def switches() -> list[tuple[str, int]]:
    """Whether the image tells the phases of a step (runtime/phase.h), and has own inputs."""
    tells = int(os.environ.get("WAGE_PHASES") == "1")
    return [("WAGE_PHASES", tells), ("WAGE_FIELD", int(bool(field())))]


def field() -> str:
    """Name of the struct field with the board's own inputs (firmware/src/field.h), or none."""
    name = os.environ.get("WAGE_FIELD") or env.GetProjectOption("custom_field", "")
    if name and not name.isidentifier():
        stop(f"no inputs: WAGE_FIELD is {name}, not the name of a struct field")
    return name


def write_model(target, source, env) -> None:
    """Turns blob and key into C; they stay in flash and need no file system."""
    blob = Path(source[0].get_abspath()).read_bytes()
    lines = [",".join(map(str, blob[at : at + 20])) for at in range(0, len(blob), 20)]
    text = (
        '#include "auth.h"\n#include "board.h"\n#include "flash.h"\n\n'
        "const uint8_t board_blob[] WAGE_IN_FLASH __attribute__((aligned(4))) = {\n"
        + ",\n".join(lines)
        + f"\n}};\nconst uint32_t board_blob_bytes = {len(blob)};\n"
    )
    if len(source) > 1:
        key = bytes.fromhex(Path(source[1].get_abspath()).read_text(encoding="ascii").strip())
        text += f"static const uint8_t key[] = {{ {','.join(map(str, key))} }};\n"
        text += "static const struct auth auth = AUTH_WITH(key);\n"
        text += "const struct auth *const board_auth = &auth;\n"
    else:
        text += "const struct auth *const board_auth = 0;\n"
    name = field()
    text += f"extern const struct field {name};\n" if name else ""
    text += f"const struct field *const board_field = {f'&{name}' if name else 0};\n"
    Path(target[0].get_abspath()).write_text(text, encoding="ascii")


def set_tools() -> None:
    """Takes compiler and flags from the board's json."""
    prefix = board.get("build.toolchain")
    if not env.WhereIs(f"{prefix}gcc"):
        stop(f"no {prefix}gcc on PATH: install the compiler; README.md names its package")
    cpu_flags = board.get("build.cpu_flags")
    script = str(port_dir / "link.ld")
    if board.get("build.libc_start", ""):  # link.ld only adds to the linker's own script
        start = [script]
    else:
        start = ["-nostdlib", "-static"]
        env.Replace(LDSCRIPT_PATH=script)
    env.Replace(
        CC=f"{prefix}gcc",
        CXX=f"{prefix}g++",
        LINK="$CC",
        AR=f"{prefix}gcc-ar",
        RANLIB=f"{prefix}gcc-ranlib",
        SIZETOOL=f"{prefix}size",
        OBJCOPY=f"{prefix}objcopy",
        PROGNAME="firmware",
        PROGSUFFIX=".elf",
    )
    env.Append(
        CCFLAGS=[
            "-Os",
            "-ffreestanding",
            "-ffunction-sections",
            "-fdata-sections",
            *WARNINGS,
            *cpu_flags,  # behind the warnings, of which they may take one away
        ],
        CFLAGS=["-std=c99"],
        CPPDEFINES=["NDEBUG", ("WAGE_LAYERS", layers()), *switches()],
        CPPPATH=["$PROJECT_SRC_DIR", str(runtime_dir), str(parts_dir)],
        LINKFLAGS=[
            *cpu_flags,
            *start,
            "-Wl,--gc-sections",
            "-Wl,--fatal-warnings",
            "-Wl,-Map,$BUILD_DIR/firmware.map",
        ],
        LIBPATH=[str(parts_dir)],
        LIBS=board.get("build.libs", []),
    )


def add_sources() -> None:
    """Adds port, parts and model; objects stay inside this environment's folder."""
    env.BuildSources("$BUILD_DIR/port", str(port_dir), "+<*.c> +<*.S>")
    named = [*board.get("build.parts", []), *(["waves.c"] if field() == WAVES else [])]
    parts = " ".join(f"+<{name}>" for name in named)
    if parts:
        env.BuildSources("$BUILD_DIR/parts", str(parts_dir), parts)
    model = env.Command(
        "$BUILD_DIR/model/model.c",
        [str(model_file()), *key_files()],
        env.VerboseAction(write_model, "Packing $SOURCE"),
    )
    packed = env.Object(model)
    env.Depends(model, env.Value(field()))
    env.NoCache(model, packed)  # with the key they stay in one place
    env.Append(PIOBUILDFILES=[packed])


def compile_fast(env, node):
    """The object of a file in FAST."""
    flags = FAST[Path(node.get_path()).name]
    return env.Object(node, CCFLAGS=[*env["CCFLAGS"], *flags])


set_tools()
for name in FAST:
    env.AddBuildMiddleware(compile_fast, f"*/runtime/{name}")
if not env.IsIntegrationDump():
    add_sources()
program = env.BuildProgram()
env.NoCache(program)  # the map beside it is of this very link
env.Depends(program, [str(port_dir / "link.ld"), *env.Glob(str(parts_dir / "*.ld"))])
Default(program)
env.SConscript(str(platform_dir / "builder" / "upload.py"), exports=["env", "program"])
