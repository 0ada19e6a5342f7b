"""What package managers want to know of the C runtime, each in its own format, from one source.

The source is pyproject.toml, as it was installed. `python -m wage_host.manifests` writes the
files into the tree; tests/test_manifests.py holds them to it.
"""

from __future__ import annotations

import json
from importlib.metadata import metadata
from pathlib import Path

from wage_host.boards import tree

# That a program includes.
HEADERS = ("wage.h", "store.h", "classes.h", "guard.h", "push.h", "prepare.h")
KEYWORDS = ("machine learning", "continual learning", "training", "integer")
MAINTAINER = "The WAGE authors"  # as in LICENSE
GENERATED = "generated from pyproject.toml: python -m wage_host.manifests"


def about() -> dict[str, str]:
    """Name, version, sentence, licence and url of the runtime; its package is wage-host's."""
    told = metadata("wage-host")
    urls = dict(url.split(", ", 1) for url in told.get_all("Project-URL", []))
    return {
        "name": told["Name"].removesuffix("-host"),
        "version": told["Version"],
        "sentence": told["Summary"].split(":")[0],
        "licence": told["License-Expression"] or told["License"],
        "url": urls.get("Homepage") or urls["Paper"],
    }


def manifests(of: dict[str, str]) -> dict[str, str]:
    """The text of every manifest, by its path in the tree."""
    packages = "runtime/packages"
    return {
        "runtime/library.json": platformio(of),
        f"{packages}/arduino/library.properties": arduino(of),
        f"{packages}/cmake/CMakeLists.txt": cmake(of),
        f"{packages}/esp-idf/wage/CMakeLists.txt": esp_idf(),
        f"{packages}/esp-idf/wage/idf_component.yml": esp_idf_component(of),
        f"{packages}/zephyr/CMakeLists.txt": zephyr(),
        f"{packages}/zephyr/Kconfig": kconfig(of),
        f"{packages}/zephyr/zephyr/module.yml": zephyr_module(of),
    }


def platformio(of: dict[str, str]) -> str:
    """library.json."""
    fields = {
        "name": of["name"],
        "version": of["version"],
        "description": of["sentence"],
        "keywords": ", ".join(KEYWORDS),
        "homepage": of["url"],
        "license": of["licence"],
        "frameworks": "*",
        "platforms": "*",
        "headers": list(HEADERS),
        "build": {"srcDir": ".", "includeDir": ".", "srcFilter": "+<*.c>"},
    }
    return json.dumps(fields, indent=2) + "\n"


def arduino(of: dict[str, str]) -> str:
    """library.properties."""
    fields = {
        "name": of["name"],
        "version": of["version"],
        "author": MAINTAINER,
        "maintainer": MAINTAINER,
        "sentence": f"{of['sentence']}.",
        "paragraph": "Trains a small neural network on the board: no float, no malloc.",
        "category": "Data Processing",
        "url": of["url"],
        "architectures": "*",
        "includes": ",".join(HEADERS),
    }
    return "".join(f"{name}={value}\n" for name, value in fields.items())


def cmake(of: dict[str, str]) -> str:
    """A static library, wage::wage, for add_subdirectory()."""
    return f"""\
# {GENERATED}
cmake_minimum_required(VERSION 3.16)
project({of["name"]} VERSION {of["version"]} DESCRIPTION "{of["sentence"]}" LANGUAGES C)

get_filename_component(runtime ../.. ABSOLUTE)
file(GLOB sources CONFIGURE_DEPENDS ${{runtime}}/*.c)
add_library(wage STATIC ${{sources}})
add_library(wage::wage ALIAS wage)
target_include_directories(wage PUBLIC ${{runtime}})
target_compile_features(wage PUBLIC c_std_99)
"""


def esp_idf() -> str:
    """The component's CMakeLists.txt."""
    return f"""\
# {GENERATED}
idf_component_register(SRC_DIRS ../../.. INCLUDE_DIRS ../../..)
"""


def esp_idf_component(of: dict[str, str]) -> str:
    """The component's manifest."""
    return f"""\
# {GENERATED}
version: "{of["version"]}"
description: "{of["sentence"]}"
url: {of["url"]}
license: {of["licence"]}
dependencies:
  idf: ">=5.0"
"""


def zephyr() -> str:
    """The module's CMakeLists.txt."""
    return f"""\
# {GENERATED}
if(CONFIG_WAGE)
  get_filename_component(runtime ../.. ABSOLUTE)
  file(GLOB sources CONFIGURE_DEPENDS ${{runtime}}/*.c)
  zephyr_library()
  zephyr_library_sources(${{sources}})
  zephyr_include_directories(${{runtime}})
endif()
"""


def kconfig(of: dict[str, str]) -> str:
    """The module's one setting."""
    return f"""\
# {GENERATED}
config WAGE
    bool "WAGE: {of["sentence"][0].lower()}{of["sentence"][1:]}"
    help
      Trains a small neural network on the device. It allocates no memory and
      needs no libc but memcpy and memset.
"""


def zephyr_module(of: dict[str, str]) -> str:
    """Where Zephyr finds the module's files."""
    return f"""\
# {GENERATED}
name: {of["name"]}
build:
  cmake: .
  kconfig: Kconfig
"""


def write(root: Path) -> None:
    """Writes every manifest below `root`."""
    for name, text in manifests(about()).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(tree())
