"""What the compiled runtime needs of others, who includes and imports whom, how long things are.

No float, no allocator, no globals, no libc beyond memcpy and memset. Each rule is a function
from text or objects to a list of faults, and is tried on a planted fault as well.
"""

# SPDX-License-Identifier: MIT

import ast
import json
import re
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

import native
import pytest

FLAGS = ("-Os", "-std=c99", "-ffreestanding", "-Wall", "-Wextra", "-Wconversion", "-Werror",
         "-pedantic")  # fmt: skip
CALLS = "-fcallgraph-info=su"  # which avr-gcc 5 does not know
MANIFESTS = sorted((native.ROOT / "boards/platform/boards").glob("*.json"))
BUILDS = [json.loads(path.read_text(encoding="utf-8"))["build"] for path in MANIFESTS]
CPUS = {build["mcu"]: (build["toolchain"], *build["cpu_flags"]) for build in BUILDS}
TARGETS = CPUS | {"host": ("", "-fno-pie")}
LIBC = {"memcpy", "memset"}
HELPERS = {  # what the compiler calls for integers: products and shifts of 64 bits, division
    "cortex-m0": {"__aeabi_lmul", "__aeabi_llsl", "__aeabi_llsr", "__aeabi_idiv", "__aeabi_uidiv",
                  "__aeabi_uidivmod"},
    "cortex-m3": set(),
    "cortex-m4": set(),
    "cortex-m7": set(),
    "cortex-m33": set(),
    "cortex-m55": set(),
    "rv32imac": {"__ashldi3", "__lshrdi3"},
    "atmega2560": {"__adddi3", "__adddi3_s8", "__ashldi3", "__cmpdi2", "__cmpdi2_s8",
                   "__divmodsi4", "__do_copy_data", "__lshrdi3", "__muldi3", "__mulhisi3",
                   "__mulohisi3",
                   "__mulshisi3", "__mulsi3", "__muluhisi3", "__subdi3", "__udivmodsi4",
                   "__umulhisi3", "__umulsidi3", "__usmulhisi3", "memcpy_P"},
    "host": set(),
}  # fmt: skip
FLOATS = re.compile(r"__aeabi_[df]|__aeabi_.*2[df]|__(add|sub|mul|div|fix|float|ext|trunc).*[sdt]f")
ALLOCATORS = {"malloc", "calloc", "realloc", "free", "_sbrk", "alloca"}
PLANTED = {
    "float": ("float f(float x); float f(float x) { return x * 3.5f; }", "float"),
    "double": ("int f(int x); int f(int x) { return (int)(x * 0.3); }", "float"),
    "counter": ("int f(void); int f(void) { static int n; return ++n; }", ".bss"),
    "initialised": ("int f(void); int f(void) { static int n = 5; return ++n; }", ".data"),
    "malloc": ("void *malloc(unsigned long); void *f(void); void *f(void) { return malloc(8); }",
               "malloc"),
    "printf": ("int puts(const char *); int f(void); int f(void) { return puts(\"\"); }", "puts"),
}  # fmt: skip


def compile_all(
    files: Sequence[Path], target: str, folder: Path, include: Sequence[str] = ("runtime",)
) -> list[Path]:
    """Objects of C files; include: folders of the tree."""
    prefix, *cpu = TARGETS[target]
    gcc, out = native.need(f"{prefix}gcc"), []
    flags = [*FLAGS, *cpu, *(f"-I{native.ROOT / name}" for name in include)]
    flags += [] if prefix == "avr-" else [CALLS]
    for path in files:
        out.append(folder / f"{path.stem}.o")
        command = [gcc, *flags, "-c", path, "-o", out[-1]]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return out


def symbols(objects: Sequence[Path], target: str) -> set[str]:
    """Names that the objects together need of others."""
    nm = native.need(f"{TARGETS[target][0]}nm")
    text = subprocess.run([nm, *objects], capture_output=True, text=True, check=True).stdout
    found = re.findall(r"^[0-9a-f]* +([A-Za-z]) (\S+)$", text, re.MULTILINE)
    defined = {name for kind, name in found if kind not in "Uw"}
    return {name for kind, name in found if kind in "Uw"} - defined


def sections(path: Path, target: str) -> dict[str, int]:
    """Bytes of text (with constants), data and bss of an object."""
    size = native.need(f"{TARGETS[target][0]}size")
    text = subprocess.run([size, path], capture_output=True, text=True, check=True).stdout
    names, numbers = (line.split()[:3] for line in text.splitlines())
    return dict(zip(names, map(int, numbers), strict=True))


def faults(objects: Sequence[Path], target: str) -> list[str]:
    """What a runtime must not have, in words."""
    out = []
    for name in sorted(symbols(objects, target) - LIBC - HELPERS[target]):
        why = "float" if FLOATS.match(name) else "allocator" if name in ALLOCATORS else "unknown"
        out.append(f"needs {name} ({why})")
    for path in objects:
        size = sections(path, target)
        out += [f"{path.name} has .{part}" for part in ("data", "bss") if size[part]]
    return out


@pytest.mark.parametrize("target", TARGETS)
def test_runtime_needs_nothing_but_memcpy_and_memset(target, tmp_path):
    files = sorted((native.ROOT / "runtime").glob("*.c"))
    assert faults(compile_all(files, target, tmp_path), target) == []


@pytest.mark.parametrize("planted", PLANTED)
@pytest.mark.parametrize("target", CPUS)
def test_check_of_objects_sees_a_planted_fault(target, planted, tmp_path):
    text, word = PLANTED[planted]
    source = tmp_path / "planted.c"
    source.write_text(text)
    found = faults(compile_all([source], target, tmp_path), target)
    assert any(word in fault for fault in found), found


def test_missing_compiler_fails_when_it_was_promised(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("WAGE_NEED_EMULATORS", "0")
    with pytest.raises(pytest.skip.Exception, match="needs arm-none-eabi-gcc"):
        native.need("arm-none-eabi-gcc")
    monkeypatch.setenv("WAGE_NEED_EMULATORS", "1")
    with pytest.raises(pytest.fail.Exception, match="promised"):
        native.need("arm-none-eabi-gcc")


# -- who knows whom --------------------------------------------------------------

FREESTANDING = {"stdint.h", "stddef.h", "string.h"}
AVR = {f"avr/{name}.h" for name in ("boot", "interrupt", "io", "pgmspace")}
PUBLIC = {"wage.h", "store.h", "classes.h", "guard.h", "prepare.h", "push.h", "wire.h",
          "flash.h", "phase.h"}
PRINTS, EXITS = {"build_core.py", "cli.py"}, {"cli.py"}
TESTS = {path.stem for path in Path(__file__).parent.iterdir()} | {"tests"}


def headers(*folders: str) -> set[str]:
    """Names of the headers in folders of the tree."""
    return {path.name for folder in folders for path in (native.ROOT / folder).glob("*.h")}


def include_faults(text: str, ours: set[str], system: set[str] | None) -> list[str]:
    """Includes that are not allowed; system None: any of libc."""
    out = []
    for bracket, name in re.findall(r'^\s*#\s*include\s*([<"])([^>"]+)', text, re.MULTILINE):
        allowed = ours if bracket == '"' else system
        if allowed is not None and name not in allowed:
            out.append(f"includes {name}")
    return out


def c_files(*folders: str) -> list[Path]:
    """C sources and headers in folders of the tree."""
    return sorted(path for f in folders for path in (native.ROOT / f).glob("*.[ch]"))


def boards() -> list[str]:
    """Folders of boards."""
    found = (path.parent for path in (native.ROOT / "boards").glob("*/port.c"))
    return sorted(str(path.relative_to(native.ROOT)) for path in found)


def all_faults(files: Iterable[Path], rule, *arguments) -> list[str]:
    """Faults of files by a rule, each with the name of its file."""
    return [
        f"{path.relative_to(native.ROOT)} {fault}"
        for path in files
        for fault in rule(path.read_text(encoding="utf-8"), *arguments)
    ]


def test_c_includes_only_what_it_may_know():
    parts = "boards/platform/parts"
    firmware = headers("firmware/src") | {"blake2b/blake2b.h"}
    flash = native.ROOT / "runtime/flash.h"
    found = all_faults([flash], include_faults, set(), FREESTANDING | AVR)
    runtime = [path for path in c_files("runtime") if path != flash]
    found += all_faults(runtime, include_faults, headers("runtime"), FREESTANDING)
    fast = headers("host/kernels", "runtime")  # and sources, to compile them for another CPU
    fast |= {f"../../runtime/{path.name}" for path in c_files("runtime")}
    found += all_faults(c_files("host/kernels"), include_faults, fast, None)
    found += all_faults(c_files("firmware/src"), include_faults, firmware | PUBLIC, FREESTANDING)
    for board in boards():
        ours = headers(board, parts) | PUBLIC | {"port.h"}
        system = FREESTANDING | AVR if board == "boards/mega2560" else FREESTANDING
        system = None if board == "boards/sim" else system
        found += all_faults(c_files(board), include_faults, ours, system)
    ours = headers(parts) | PUBLIC | {"port.h"}
    found += all_faults(c_files(parts), include_faults, ours, FREESTANDING)
    assert found == []
    assert len(boards()) >= 2


def test_check_of_includes_sees_a_planted_fault():
    own = headers("runtime")
    assert include_faults('#include "serve.h"\n', own, FREESTANDING) == ["includes serve.h"]
    assert include_faults("# include <stdio.h>\n", own, FREESTANDING) == ["includes stdio.h"]
    assert include_faults('#include "layer.h"\n', PUBLIC, set()) == ["includes layer.h"]
    assert include_faults('#include "num.h"\n#include <stdint.h>\n', own, FREESTANDING) == []


def imports(tree: ast.AST) -> set[str]:
    """Top names of all modules that a Python file imports."""
    out = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            out |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            out.add((node.module or "").split(".")[0])
    return out


def python_faults(text: str, name: str) -> list[str]:
    """What a file of the host may not do."""
    tree = ast.parse(text)
    names = imports(tree)
    out = [f"imports {test}" for test in sorted(names & TESTS)]
    if "serial" in names and name != "link.py":
        out.append("imports serial")
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        if called == "print" and name not in PRINTS:
            out.append(f"line {node.lineno} prints")
        if called in ("sys.exit", "os._exit", "exit", "quit", "SystemExit") and name not in EXITS:
            out.append(f"line {node.lineno} exits")
    return out


def test_host_keeps_its_rooms():
    files = sorted((native.ROOT / "host").rglob("*.py"))
    found = [f"{f.name} {fault}" for f in files for fault in python_faults(f.read_text(), f.name)]
    assert found == []
    assert any("serial" in imports(ast.parse(f.read_text())) for f in files if f.name == "link.py")


@pytest.mark.parametrize(
    "text, fault",
    [
        ("import blobs", "imports blobs"),
        ("from tests.native import run", "imports tests"),
        ("def f():\n    from serial.tools import list_ports", "imports serial"),
        ("print(1)", "line 1 prints"),
        ("import sys\nsys.exit(2)", "line 2 exits"),
        ("raise SystemExit(2)", "line 1 exits"),
    ],
)
def test_check_of_the_host_sees_a_planted_fault(text, fault):
    assert python_faults(text, "stream.py") == [fault]
    allowed = {"imports serial": "link.py", "line 1 prints": "cli.py", "line 2 exits": "cli.py"}
    assert python_faults(text, allowed.get(fault, "")) == ([] if fault in allowed else [fault])


# -- how long things are ---------------------------------------------------------


def length_faults(text: str, lines: int, columns: int) -> list[str]:
    """Too many lines, or one too long."""
    rows = text.splitlines()
    out = [f"has {len(rows)} lines"] if len(rows) > lines else []
    wide = [n for n, row in enumerate(rows, 1) if len(row) > columns]
    return out + [f"line {n} is too long" for n in wide]


def function_faults(text: str, lines: int = 60) -> list[str]:
    """C functions that are too long: from a name at the margin to the brace that ends them."""
    out, begun = [], 0
    rows = text.splitlines()
    for number, row in enumerate(rows, 1):
        if re.match(r"[A-Za-z_].*\(", row):
            begun = number
        if row == "}" and begun:
            if number - begun + 1 > lines:
                out.append(f"line {begun}: a function of {number - begun + 1} lines")
            begun = 0
    return out


def test_files_functions_and_lines_are_short():
    ours = ("runtime", "host/kernels", "firmware/src", "boards/platform/parts", "tests/native")
    c = c_files(*ours, *boards())
    python = [p for f in ("host", "tests", "boards") for p in (native.ROOT / f).rglob("*.py")]
    found = all_faults(c, length_faults, 400, 80) + all_faults(c, function_faults)
    names = ("wage.h", "store.h", "classes.h", "guard.h", "prepare.h")
    manuals = [native.ROOT / "runtime" / name for name in names]
    found += all_faults(manuals, length_faults, 200, 80)
    found += all_faults(python, length_faults, 400, 100)
    assert found == []


def test_check_of_lengths_sees_a_planted_fault():
    assert length_faults("a\n" * 401, 400, 80) == ["has 401 lines"]
    assert length_faults("a\n" + "x" * 81, 400, 80) == ["line 2 is too long"]
    body = "static int f(int a,\n             int b)\n{\n" + "    a++;\n" * 57
    assert function_faults(body + "}\n") == ["line 1: a function of 61 lines"]
    assert function_faults(body.replace("    a++;\n", "", 1) + "}\n") == []


# -- shifts ------------------------------------------------------------------------


def shift_faults(text: str) -> list[str]:
    """Shifts to the right whose left side is not a name declared unsigned, and only so."""
    text, out = re.sub(r"/\*.*?\*/|//[^\n]*", "", text, flags=re.DOTALL), []
    for at in (m.start() for m in re.finditer(r">>", text)):
        before = text[:at].rstrip()
        while before.endswith("]"):  # an element: its array decides
            before = before[: before.rindex("[")] if before.count("[") else before[:-1]
        name = (re.search(r"(\w+)$", before) or [None, "?"])[1]
        if name.isdigit():
            continue
        unsigned = rf"\b(?:uint\d+_t|unsigned)\s+(?:\*\s*|\w+(?: = [^,;]+)?, )*{name}\b"
        signed = rf"\b(?:int\d+_t|int|short|long|char)\s+{name}\b"
        if not re.search(unsigned, text) or re.search(signed, text):
            out.append(f"shifts {name}, which is not declared unsigned there")
    return out


def test_only_num_shifts_what_may_be_negative():
    """As far as names tell: the sign of every left side of >> is on view in its file."""
    files = [p for p in c_files("runtime") if p.stem != "num"]
    declarations = (native.ROOT / "runtime/layer.h").read_text(encoding="utf-8")
    declarations = declarations[: declarations.index("/* Forward writes")]

    def rule(text: str) -> list[str]:
        return shift_faults(declarations + text)

    assert all_faults(files, rule) == []


def test_check_of_shifts_sees_a_planted_fault():
    assert shift_faults("int32_t x = -4;\nx >> 1;") != []
    assert shift_faults("uint32_t f(uint32_t x);\nint f(int x) { return x >> 1; }") != []
    assert shift_faults("y = f(x) >> 2;") != []
    assert shift_faults("uint32_t a, x = 5;\ny = x >> 1; // -1 >> 1") == []
    assert shift_faults("const uint8_t *p;\ny = p[i + 1] >> 1;") == []
