"""The one place that opens ports: serial devices, pyserial URLs, the simulated board."""

import contextlib
import errno
import os
from collections.abc import Callable, Container
from typing import Protocol

import serial
from serial.tools import list_ports

from wage_host.errors import PortBusy, PortNotFound
from wage_host.sim import SimBoard


class LinkLost(Exception):
    """The link broke; it may come back."""


class Link(Protocol):
    """Bytes to and from a board."""

    def write(self, data: bytes) -> None:
        """Sends all of `data`, or raises LinkLost."""

    def read(self, timeout_s: float) -> bytes:
        """What has come, waiting up to `timeout_s` for the first byte; or raises LinkLost."""

    def close(self) -> None:
        """Lets go of the port."""


class SerialLink:
    """A serial device or any URL that pyserial opens."""

    def __init__(self, url: str, baud: int):
        try:
            self._serial = serial.serial_for_url(url, do_not_open=True, baudrate=baud)
            with contextlib.suppress(ValueError, AttributeError):
                self._serial.exclusive = True
            self._serial.write_timeout = 10
            self._serial.open()
        except (serial.SerialException, OSError, ValueError) as error:
            raise _explained(url, error) from error

    def write(self, data: bytes) -> None:
        try:
            self._serial.write(data)
        except (serial.SerialException, OSError) as error:
            raise LinkLost(str(error)) from error

    def read(self, timeout_s: float) -> bytes:
        try:
            self._serial.timeout = timeout_s
            first = self._serial.read(1)
            self._serial.timeout = 0
            return first + self._serial.read(65536) if first else b""
        except (serial.SerialException, OSError, TypeError) as error:
            # pyserial raises TypeError when the port is closed under its feet
            raise LinkLost(str(error)) from error

    def close(self) -> None:
        with contextlib.suppress(serial.SerialException, OSError):
            self._serial.close()


class SimLink:
    """A simulated board in this process."""

    def __init__(self, board: SimBoard):
        self._board = board
        self._waiting = b""

    def write(self, data: bytes) -> None:
        self._waiting += self._board.exchange(data)

    def read(self, timeout_s: float) -> bytes:
        data, self._waiting = self._waiting, b""
        return data

    def close(self) -> None:
        """The board stays; only the cable is pulled."""


def _explained(url: str, error: Exception) -> PortNotFound | PortBusy:
    number = getattr(error, "errno", None)
    text = str(error)
    if number in (errno.EBUSY, errno.EAGAIN, errno.EWOULDBLOCK) or "lock" in text:
        return PortBusy(f"{url} is in use by another program: close it and try again")
    if number in (errno.EACCES, errno.EPERM):
        return PortBusy(
            f"no permission to open {url}: add yourself to the group that owns it "
            "(often 'sudo usermod -aG dialout $USER', then log in again)"
        )
    if url.startswith("socket://"):
        return PortNotFound(f"nothing listens at {url}: is 'wage-host emulate' running there?")
    if os.path.exists(url):
        return PortNotFound(f"{url} is not a serial port: choose one with --port")
    known = ", ".join(ports()) or "none"
    return PortNotFound(
        f"there is no port {url}: plug the board in, or choose one with --port (found: {known})"
    )


def ports() -> list[str]:
    """Names of the serial ports of this computer that have a USB device behind them."""
    return [port.device for port in list_ports.comports() if port.vid is not None]


def ports_of(usb: Container[tuple[int, int]]) -> list[tuple[str, str]]:
    """(Name, serial number) of those whose USB device has one of these (vendor, product)."""
    found = [port for port in list_ports.comports() if (port.vid, port.pid) in usb]
    return [(port.device, port.serial_number or "") for port in found]


def connector(port: str, baud: int, sim: Callable[[], SimBoard] | None) -> Callable[[], Link]:
    """A function that opens `port` now, and again after the link was lost."""
    if port == "sim":
        if sim is None:
            raise PortNotFound("--port sim needs the model it should run: give --model FILE.wage")
        board = sim()
        return lambda: SimLink(board)
    return lambda: SerialLink(port, baud)
