"""What other build systems read of the runtime: no drift from pyproject.toml, and it builds."""

# SPDX-License-Identifier: MIT

import json
import subprocess

import native
import pytest
from wage_host import manifests

PROGRAM = """\
#include "wage.h"
int main(void) { return wage_arena_bytes((const uint8_t *)"", 0) != WAGE_E_SHORT; }
"""
PROJECT = """\
cmake_minimum_required(VERSION 3.16)
project(program C)
add_subdirectory({packages}/cmake wage)
add_executable(program program.c)
target_link_libraries(program PRIVATE wage::wage)
"""
HOW = "python -m wage_host.manifests writes them"
PACKAGES = native.ROOT / "runtime/packages"


def test_manifests_are_as_generated():
    made = manifests.manifests(manifests.about())
    for name, text in made.items():
        assert (native.ROOT / name).read_text(encoding="utf-8") == text, f"{name}: {HOW}"
    there = {path for path in PACKAGES.rglob("*") if path.is_file()} - {PACKAGES / "README.md"}
    assert there <= {native.ROOT / name for name in made}


def test_source_is_pyproject():
    tomllib = pytest.importorskip("tomllib")
    project = tomllib.loads((native.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    about = manifests.about()
    assert about["name"] + "-host" == project["name"]
    assert (about["version"], about["licence"]) == (project["version"], project["license"])
    assert project["description"].startswith(about["sentence"])
    assert about["url"] in project["urls"].values()


def test_headers_are_there():
    assert all((native.ROOT / "runtime" / name).is_file() for name in manifests.HEADERS)
    library = json.loads((native.ROOT / "runtime/library.json").read_text(encoding="utf-8"))
    assert library["headers"] == list(manifests.HEADERS)


def test_cmake_builds_a_program(tmp_path):
    cmake = native.need("cmake")
    (tmp_path / "CMakeLists.txt").write_text(PROJECT.format(packages=PACKAGES))
    (tmp_path / "program.c").write_text(PROGRAM)
    for command in (["-S", ".", "-B", "build"], ["--build", "build"]):
        done = subprocess.run(
            [cmake, *command], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert subprocess.run([tmp_path / "build/program"], check=False).returncode == 0
