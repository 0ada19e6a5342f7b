"""Qoitech's Otii Arc and Ace, through the Otii app with its server on: an extra.

The app keeps a recording; what is new in it is asked for. Current comes at 4 kHz, voltage at 1 kHz,
general inputs 1 and 2 as changes.
"""

import contextlib
import time
from typing import Any

import numpy as np

from wage_host.errors import InstrumentError, PortNotFound, ToolMissing, WageError
from wage_host.link import LinkLost
from wage_host.power.instrument import NOTHING, WIDE, Block, Gap

HOST, PORT = "127.0.0.1", 1905
RATE_HZ = 4000
CHANNELS = ("mc", "mv", "i1", "i2")
HOW_TO_GET = "pip install 'wage-host[otii]'"
PATIENCE_S, SILENT_S = 2, 10.0
ASK_S = 0.1  # at least, between two questions


class Otii:
    """The first Arc or Ace of the app; it supplies the board when it is told a voltage."""

    rate_hz = float(RATE_HZ)
    pins = 2
    live = True

    def __init__(self, where: str, volts: float | None):
        try:
            from otii_tcp_client import otii_client
        except ImportError:
            raise ToolMissing("otii-tcp-client", HOW_TO_GET) from None
        host, _, port = where.partition(":")
        address = f"{host or HOST}:{port or PORT}"
        try:
            self._app = otii_client.OtiiClient().connect(
                host=host or HOST, port=int(port or PORT), try_for_seconds=PATIENCE_S
            )
        except Exception as error:  # its library raises that, plain
            raise PortNotFound(
                f"no Otii app answers at {address} ({error}): open it, and have it start its server"
            ) from None
        self._set_up(volts)

    def _set_up(self, volts: float | None) -> None:
        try:
            devices = self._app.get_devices()
            if not devices:
                raise PortNotFound("no Otii is connected to the app: plug it in")
            self._arc = devices[0]
            self._arc.add_to_project()
            for channel in CHANNELS:
                self._arc.enable_channel(channel, True)
            if volts is not None:
                self._arc.set_main_voltage(volts)
            self._arc.set_main(True)
            self._project = self._app.get_active_project()
        except WageError:
            raise
        except Exception as error:
            raise InstrumentError(f"the Otii app refused: {error}") from None
        self.name = f"{self._arc.name} by the Otii app"

    @staticmethod
    def find() -> list[str]:
        """The app is asked only when it is named."""
        return []

    def start(self) -> None:
        """Begins a recording."""
        self._project.start_recording()
        self._recording = self._project.get_last_recording()
        self._done = dict.fromkeys(CHANNELS, 0)
        self._volts, self._edges = np.empty((0, 2)), {"i1": [(0.0, 0)], "i2": [(0.0, 0)]}
        self._heard = time.monotonic()

    def _new(self, channel: str) -> dict[str, Any] | None:
        """What has come to a channel; None: nothing."""
        count = self._recording.get_channel_data_count(self._arc.id, channel) - self._done[channel]
        if count <= 0:
            return None
        data = self._recording.get_channel_data(self._arc.id, channel, self._done[channel], count)
        self._done[channel] += len(data["values"])
        return data

    def read(self, timeout_s: float) -> Block:
        """What has come."""
        time.sleep(min(timeout_s, ASK_S))
        try:
            current, volts, *inputs = (self._new(channel) for channel in CHANNELS)
        except Exception as error:
            raise LinkLost(f"the Otii app is gone: {error or type(error).__name__}") from None
        if volts:
            t = volts["timestamp"] + volts["interval"] * np.arange(len(volts["values"]))
            new = np.stack([t, np.array(volts["values"])], 1)
            self._volts = np.concatenate([self._volts[-1:], new])
        for channel, data in zip(("i1", "i2"), inputs, strict=True):
            if data:
                self._edges[channel] += [(e["timestamp"], int(e["value"])) for e in data["values"]]
        if not current or not len(self._volts):
            if time.monotonic() - self._heard > SILENT_S:
                raise LinkLost("the Otii app gives no samples any more")
            return NOTHING
        self._heard = time.monotonic()
        t = current["timestamp"] + current["interval"] * np.arange(len(current["values"]))
        held = np.clip(np.searchsorted(self._volts[:, 0], t, "right") - 1, 0, None)
        marks = self._level("i1", t) | self._level("i2", t) << 1
        amperes = np.array(current["values"], WIDE)
        return Block(t, self._volts[held, 1].astype(WIDE), amperes, marks)

    def _level(self, channel: str, t: np.ndarray) -> np.ndarray:
        """An input at these times."""
        edges = np.array(self._edges[channel])
        at = np.clip(np.searchsorted(edges[:, 0], t, "right") - 1, 0, None)
        return edges[at, 1].astype(np.uint8)

    def gaps(self) -> list[Gap]:
        """The app tells of none."""
        return []

    def stop(self) -> None:
        """Ends the recording; the board keeps its supply."""
        with contextlib.suppress(Exception):  # it may be gone
            self._project.stop_recording()
            self._app.disconnect()
