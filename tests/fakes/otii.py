"""The server of the Otii app, with an Arc: JSON lines over TCP, as otii-tcp-client speaks them.

More options: devices (0: none is plugged in), closes (after so many questions it is gone).
"""

# SPDX-License-Identifier: MIT

import json
import socket
import sys
import time
from typing import Any

RATES = {"mc": 4000, "mv": 1000}


class Fake:
    """What it answers."""

    def __init__(self, options: dict):
        self.options, self.volts, self.on, self.begin = options, 3.0, False, 0.0
        self.steps = [s for s in options["steps"] for _ in range(s[0])]

    def now(self, channel: str) -> int:
        """How many values of a channel there are."""
        if channel in RATES:
            return int((time.monotonic() - self.begin) * RATES[channel])
        return len(self.edges(self.now("mc"), 1 if channel == "i1" else 2))

    def edges(self, count: int, bit: int) -> list[dict[str, Any]]:
        """Changes of an input."""
        levels = [self.steps[k % len(self.steps)][2] & bit for k in range(count)]
        at = [k for k in range(1, count) if levels[k] != levels[k - 1]]
        return [{"timestamp": k / RATES["mc"], "value": bool(levels[k])} for k in at]

    def data(self, channel: str, index: int, count: int) -> dict[str, Any]:
        """Values of a channel."""
        if channel not in RATES:
            edges = self.edges(self.now("mc"), 1 if channel == "i1" else 2)
            return {"data_type": "digital", "values": edges[index : index + count]}
        if channel == "mc":
            values = [self.steps[k % len(self.steps)][1] if self.on else 0.0
                      for k in range(index, index + count)]  # fmt: skip
        else:
            values = [self.volts] * count
        step = 1 / RATES[channel]
        return {"data_type": "analog", "timestamp": index * step, "interval": step,
                "values": values}  # fmt: skip

    def answer(self, cmd: str, d: dict[str, Any]) -> dict[str, Any]:
        """The data of an answer."""
        if cmd == "otii_is_logged_in":
            return {"logged_in": True}
        if cmd == "otii_get_licenses":
            return {"licenses": [{"id": 1, "type": "Automation", "available": True,
                                  "reserved_to": "", "hostname": ""}]}  # fmt: skip
        if cmd == "otii_get_devices":
            arc = {"device_id": "arc1", "name": "Arc", "type": "Arc"}
            return {"devices": [arc] * self.options.get("devices", 1)}
        if cmd in ("otii_get_active_project", "project_get_last_recording"):
            return {"project_id": 1, "recording_id": 1, "name": "Recording 1"}
        if cmd == "arc_set_main_voltage":
            self.volts = d["value"]
        elif cmd == "arc_set_main":
            self.on = d["enable"]
        elif cmd == "project_start_recording":
            self.begin = time.monotonic()
        elif cmd == "recording_get_channel_data_count":
            return {"count": self.now(d["channel"])}
        elif cmd == "recording_get_channel_data":
            return self.data(d["channel"], d["index"], d["count"])
        return {}

    def run(self) -> None:
        """One client, for ever."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            print(f"127.0.0.1:{server.getsockname()[1]}", flush=True)
            client, _ = server.accept()
        told = {"type": "information", "info": "connected", "data": {"protocol_version": "0.1"}}
        client.sendall(json.dumps(told).encode() + b"\r\n")
        for asked, line in enumerate(client.makefile(), 1):
            question = json.loads(line)
            if asked > self.options.get("closes", sys.maxsize):
                client.shutdown(socket.SHUT_RDWR)
                return
            found = self.answer(question["cmd"], question.get("data", {}))
            told = {"type": "response", "cmd": question["cmd"], "data": found,
                    "trans_id": question["trans_id"]}  # fmt: skip
            client.sendall(json.dumps(told).encode() + b"\r\n")


if __name__ == "__main__":
    Fake(json.loads(sys.argv[1])).run()
