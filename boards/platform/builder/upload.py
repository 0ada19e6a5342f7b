"""pio run -t upload: an image onto the board in the hand, as its upload protocol says.

mbed: a copy onto the drive that the board is over USB; pyocd: by its debugger.
"""

# SPDX-License-Identifier: MIT
# ruff: noqa: F821

import shutil
import sys
from pathlib import Path

from platformio.device.list.util import list_logical_devices
from SCons.Script import Import

Import("env", "program")
board = env.BoardConfig()


def failed(text: str) -> int:
    """Says what to do; the upload has failed."""
    sys.stderr.write(f"error: {text}\n")
    return 1


def find_drive() -> str:
    """Where the drive with the board's label is mounted; empty: nowhere."""
    label = board.get("upload.drive").lower()
    found = (d["path"] for d in list_logical_devices() if label in (d["name"] or "").lower())
    return next(found, "")


def to_drive(target, source, env) -> int:
    """Copies the image onto the board's drive, which writes it into its flash."""
    drive = env.subst("$UPLOAD_PORT") or find_drive()
    if not drive or not Path(drive).is_dir():
        return failed(
            f"no drive of the board is mounted{f' at {drive}' if drive else ''}: plug it in, "
            "mount it, or name its folder with --upload-port"
        )
    try:
        shutil.copyfile(source[0].get_abspath(), Path(drive, "firmware.hex"))
    except OSError as error:
        return failed(f"cannot write to {drive} ({error.strerror}): mount it so that you may")
    sys.stdout.write(f"copied to {drive}\n")
    return 0


def by_pyocd(target, source, env) -> int:
    """Flashes the image with pyOCD."""
    if not env.WhereIs("pyocd"):
        return failed("pyocd is not installed: pip install pyocd")
    chip = board.get("upload.pyocd_target")
    return env.Execute(f'pyocd flash -t {chip} "{source[0].get_abspath()}"')


def not_known(target, source, env) -> int:
    """There is no way onto the board."""
    return failed(f"{env.subst('$BOARD')} has no uploader for the protocol '{protocol}'")


protocol = env.GetProjectOption("upload_protocol", board.get("upload.protocol", "none"))
how = {"mbed": to_drive, "pyocd": by_pyocd}.get(protocol, not_known)
image = env.Command(
    "$BUILD_DIR/${PROGNAME}.hex",
    program,
    env.VerboseAction("$OBJCOPY -O ihex $SOURCE $TARGET", "Writing $TARGET"),
)
env.AddPlatformTarget("upload", image, env.VerboseAction(how, "Uploading $SOURCE"), "Upload")
