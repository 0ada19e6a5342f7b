"""The local platform: real `pio run` that needs no package registry."""

# SPDX-License-Identifier: MIT

import importlib.util
import json
from pathlib import Path

from platformio.dependencies import get_core_dependencies
from platformio.package.manager.core import get_core_package_dir
from platformio.platform.base import PlatformBase

_NAME = "tool-scons"
_RUN = """\
import sys

sys.path.append({folder!r})

import SCons.Script

SCons.Script.main()
"""


class WagePlatform(PlatformBase):
    """Boards of WAGE; compilers come from PATH, so there are no packages."""

    def configure_default_packages(self, options, targets):
        """Called before PlatformIO looks for its own tools."""
        self._provide_scons()
        return super().configure_default_packages(options, targets)

    def _provide_scons(self) -> None:
        """Hands PlatformIO the SCons of this Python; else it would download one."""
        scons = importlib.util.find_spec("SCons")
        if scons is None or get_core_package_dir(_NAME, auto_install=False):
            return
        folder = Path(self.config.get("platformio", "packages_dir")) / _NAME
        folder.mkdir(parents=True, exist_ok=True)
        version = get_core_dependencies()[_NAME].lstrip("~^=")
        site = str(Path(scons.submodule_search_locations[0]).parent)
        (folder / "scons.py").write_text(_RUN.format(folder=site), encoding="utf-8")
        package = {"name": _NAME, "version": version}
        (folder / "package.json").write_text(json.dumps(package), encoding="utf-8")
        spec = {"owner": "platformio", "id": None, "name": _NAME, "uri": None, "requirements": None}
        package = {"type": "tool", "name": _NAME, "version": version, "spec": spec}
        (folder / ".piopm").write_text(json.dumps(package), encoding="utf-8")
