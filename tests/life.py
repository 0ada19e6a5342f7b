"""A model that learns and saves into a simulated store, boot after boot."""

# SPDX-License-Identifier: MIT

from blobs import random_stream, small_blob
from nor import Nor
from wage_host._core import lib
from wage_host.core import Core


def model(replay: int = 20) -> bytes:
    """A small model with a replay: a save erases twice and programs some ten times."""
    return small_blob(replay_capacity=replay, replays=2)


def store_for(
    blob: bytes, erase_bytes: int = 128, unit: int = 4, fill: int = 0xFF, slots: int = 2
) -> Nor:
    """The smallest store that takes this model."""
    padded = -(-lib.wage_checkpoint_bytes(Core(blob).wage) // 32) * 32
    return Nor(slots * -(-padded // erase_bytes) * erase_bytes, erase_bytes, unit, fill, slots)


class Life:
    """A model that learns one stream, boot after boot, as a board does."""

    def __init__(self, blob: bytes, nor: Nor):
        self.blob, self.nor, self.core = blob, nor, Core(blob)
        self.samples = list(random_stream(blob, 4, 80))

    def learn(self, count: int) -> None:
        """The next samples of the stream."""
        if self.core.wage.stream == 0:
            self.core.start(1, self.core.config())
        done = self.core.wage.last_id
        list(self.core.learn(self.samples[done : done + count]))

    def save(self) -> int:
        result = lib.wage_save(self.core.wage, self.nor.store)
        assert self.nor.broken == []
        return result

    def state(self) -> tuple[int, int]:
        """Generation and state CRC."""
        return self.core.wage.generation, self.core.state_crc()

    def boot(self) -> int:
        """Opens anew and restores; the result of that."""
        self.nor.power_on()
        self.core = Core(self.blob)
        return lib.wage_restore(self.core.wage, self.nor.store)

    def saved(self) -> tuple[int, int]:
        """Learns, saves, and returns what must come back."""
        self.learn(2)
        assert self.save() == 0
        return self.state()

    def operations(self) -> int:
        """Of one save, which happens."""
        self.nor.power_on()
        self.saved()
        return self.nor.operations


def begin(blob: bytes, saves: int, **store) -> tuple[Life, tuple[int, int]]:
    """A life with so many saves behind it, and the last of them."""
    life = Life(blob, store_for(blob, **store))
    state = (0, Core(blob).state_crc())
    for _ in range(saves):
        state = life.saved()
    return life, state
