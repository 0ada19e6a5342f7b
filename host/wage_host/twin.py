"""A board's twin in this process: it learns, saves and asks its guard as the board does."""

import dataclasses
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from wage_host._core import ffi, lib
from wage_host.core import Config, Core, Policy, Record, Sample, check


def _whole(count: int) -> int:
    """Rounded up to the erase units of the simulated store."""
    return -(-count // lib.SIM_ERASE_BYTES) * lib.SIM_ERASE_BYTES


class Twin(Core):
    """A model and a store of `slots` checkpoints with room for a guard of so many samples.

    `wear`: the board's when it begins, where the twin's is 0.
    """

    def __init__(self, blob: bytes, slots: int, guard_count: int = 0, wear: int = 0):
        super().__init__(blob)
        self._wear = wear
        slot = _whole(lib.wage_checkpoint_bytes(self.wage) + 32)
        guard = _whole(64 + guard_count * (self.info.latent_bytes + lib.SIM_PROGRAM_BYTES))
        self._folder = tempfile.TemporaryDirectory()
        name = os.fsencode(Path(self._folder.name, "store"))
        port = lib.sim_open(blob, len(blob), 0, name, slots * slot + guard)
        self._port = ffi.gc(port, lib.sim_close)
        self._store = lib.sim_store(self._port)
        self._store.slots, self._store.guard_bytes = slots, guard
        self._policy, self._saved = ffi.new("struct wage_policy *"), True

    def guard(self, samples: Sequence[Sample], name: int) -> None:
        """Puts a held-out set into the store."""
        for k, (x, label) in enumerate(samples, 1):
            data = ffi.from_buffer("int8_t[]", np.ascontiguousarray(x, np.int8))
            check(lib.wage_guard_put(self.wage, self._store, k, len(samples), name, data, label))

    def start(self, stream: int, config: Config, policy: Policy | None = None) -> int:
        """Begins or resumes `stream`. Returns the id learned last in it."""
        last_id = super().start(stream, config)
        given = dataclasses.asdict(policy or Policy())
        if given["wear_max"]:
            given["wear_max"] = max(1, given["wear_max"] - self._wear)
        self._policy = ffi.new("struct wage_policy *", given)
        self._keep_if_due()
        return last_id

    def learn(self, samples: Iterable[Sample]) -> Iterator[Record]:
        """Learns the samples that follow the last one learned, and keeps what is due."""
        for record in super().learn(samples):
            kept, generation = self._keep_if_due(), self.wage.generation
            yield dataclasses.replace(
                record, kept=kept, score=self.wage.score, generation=generation
            )

    def _keep_if_due(self) -> int:
        """What the policy asks for; enum wage_kept."""
        kept = check(lib.wage_due(self.wage, self._store, self._policy))
        if kept:
            kept = check(lib.wage_keep(self.wage, self._store, self._policy))
        self._saved = kept == lib.WAGE_SAVED_NOW
        return kept

    def save(self) -> None:
        """What a board does when it is told to save in the end; nothing when it just did."""
        if not self._saved and self._policy.every:
            now = ffi.new("struct wage_policy *", {"margin": self._policy.margin})
            check(lib.wage_keep(self.wage, self._store, now))
