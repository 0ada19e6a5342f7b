"""Joulescope JS110 and JS220, through their maker's library: an extra.

The library keeps samples in a buffer and calls from a thread of its own when there are new ones;
general inputs 0 and 1 are the two lowest pins. A sample that it missed is NaN there.
"""

import queue
from typing import Any

import numpy as np

from wage_host.errors import InstrumentError, PortNotFound, ToolMissing
from wage_host.link import LinkLost
from wage_host.power.instrument import NOTHING, WIDE, Block, Gap

RATE_HZ = 100_000
FIELDS = ("current", "voltage", "current_lsb", "voltage_lsb")
SILENT = 50  # reads in a row without a sample
HOW_TO_GET = "pip install 'wage-host[joulescope]'"


def library() -> Any:
    """The maker's module; ToolMissing without."""
    try:
        import joulescope
    except ImportError:
        raise ToolMissing("joulescope", HOW_TO_GET) from None
    return joulescope


class Joulescope:
    """The only one that is plugged in; the board has a supply of its own."""

    rate_hz = float(RATE_HZ)
    pins = 2
    live = True

    def __init__(self, where: str, volts: float | None):
        if volts is not None:
            raise InstrumentError("a Joulescope measures the voltage itself: leave out --volts")
        if where:
            raise InstrumentError("write joulescope alone: the one that is plugged in is taken")
        try:
            self._device = library().scan_require_one(config="auto")
        except RuntimeError as error:
            raise PortNotFound(f"no Joulescope is plugged in, or several are ({error})") from None
        self._device.open()
        for name, value in (
            ("sampling_frequency", RATE_HZ), ("current_lsb", "gpi0"), ("voltage_lsb", "gpi1")
        ):  # fmt: skip
            self._device.parameter_set(name, value)
        self.name = str(self._device)
        self._arrays: queue.Queue = queue.Queue()
        self._gaps: list[Gap] = []
        self._next, self._first, self._silent = 0, None, 0

    @staticmethod
    def find() -> list[str]:
        """Those that the library sees; none without the library."""
        try:
            return [str(device) for device in library().scan()]
        except ToolMissing:
            return []

    def start(self) -> None:
        """Begins to measure."""
        self._device.stream_process_register(self)
        self._device.start()

    def stream_notify(self, buffer: Any) -> bool:
        """Called by the library: copies what is new. Returns whether to stop."""
        begin, end = buffer.sample_id_range
        if end is None:
            return False
        self._first = begin if self._first is None else self._first
        begin = max(begin, self._first + self._next)
        if end > begin:
            signals = buffer.samples_get(begin, end, fields=list(FIELDS))["signals"]
            arrays = [np.array(signals[name]["value"]) for name in FIELDS]
            self._arrays.put((begin - self._first, arrays))
            self._next = end - self._first
        return False

    def read(self, timeout_s: float) -> Block:
        """What has come."""
        try:
            number, (amperes, volts, pin0, pin1) = self._arrays.get(timeout=timeout_s)
        except queue.Empty:
            self._silent += 1
            if self._silent > SILENT:
                raise LinkLost(f"{self.name} gives no samples any more") from None
            return NOTHING
        self._silent = 0
        good = np.isfinite(amperes) & np.isfinite(volts)
        t = (number + np.arange(len(amperes))) / RATE_HZ
        if missing := int((~good).sum()):
            text = f"{missing} samples that the library missed"
            self._gaps.append(Gap(float(t[~good][0]), missing / RATE_HZ, missing, "lost", text))
        marks = (pin0.astype(np.uint8) & 1) | (pin1.astype(np.uint8) & 1) << 1
        return Block(t[good], volts[good].astype(WIDE), amperes[good].astype(WIDE), marks[good])

    def gaps(self) -> list[Gap]:
        """What was missed since this was asked last."""
        found, self._gaps = self._gaps, []
        return found

    def stop(self) -> None:
        """Ends the measurement."""
        self._device.stop()
        self._device.close()
