"""Before a build for an Arduino core: adds the port, and the sketch with the model in it."""

# SPDX-License-Identifier: MIT

import os
import shutil
import sys
from pathlib import Path

Import("env")  # noqa: F821


def stop(text: str) -> None:
    """Ends the build with one line that says what to do."""
    sys.stderr.write(f"error: {text}\n")
    env.Exit(1)  # noqa: F821


try:
    from wage_host import arduino
except ImportError:
    stop("PlatformIO's Python has no wage-host, which writes the model: pip install it there")

name = os.environ.get("WAGE_MODEL")
if not name or not Path(name).is_file():
    stop("no model: set WAGE_MODEL=/path/to/model.wage")

folder = Path(env.subst("$PROJECT_DIR")).resolve().parent / "boards/arduino"  # noqa: F821
sketch = Path(env.subst("$BUILD_DIR")) / "sketch"  # noqa: F821
sketch.mkdir(parents=True, exist_ok=True)
shutil.copyfile(folder / "learn/learn.ino", sketch / "learn.cpp")
(sketch / "model.h").write_text(arduino.model_header(Path(name).read_bytes()), encoding="ascii")
env.Append(CPPPATH=[str(folder), "$PROJECT_SRC_DIR"])  # noqa: F821
env.BuildSources("$BUILD_DIR/arduino", str(folder), "+<*.cpp>")  # noqa: F821
env.BuildSources("$BUILD_DIR/learn", str(sketch), "+<*.cpp>")  # noqa: F821
