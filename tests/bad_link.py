"""A simulated board behind a bad link, on a virtual clock.

The truth is a twin in this process that learns each sample once: after every chunk of bytes the
board must be in one of its states.
"""

# SPDX-License-Identifier: MIT

import functools
import heapq
import math
import random
from collections.abc import Callable
from pathlib import Path

from blobs import random_stream, small_blob
from wage_host import sim, wire
from wage_host._core import lib
from wage_host.core import Config, Core
from wage_host.errors import PortNotFound
from wage_host.link import LinkLost

BLOB = small_blob(replay_capacity=3, replays=1)
CONFIG = Config(seed=5, lr_shift=-4, replays=2, gain_shift=2, threshold=0)
COUNT = 16  # samples of a stream at most
STREAMS = {s: list(random_stream(BLOB, s, COUNT)) for s in (11, 12)}
CALLS = 100_000  # of the link in a run; more is a loop without end
MEMORY_BYTES, STORE_BYTES = 1 << 14, 1 << 14

Path_ = tuple[tuple[int, int], ...]  # streams in the order learned: (number, last id)
FACTORY: Path_ = ((0, 0),)


class Wrong(AssertionError):
    """The board is in a state that its samples, each learned once, do not give."""


class Lost(AssertionError):
    """The board does not know what it said was saved."""


class Hang(AssertionError):
    """The host waits without end."""


class Killed(BaseException):
    """The host's process ends here."""


@functools.cache
def twin_crc(path: Path_) -> int:
    """The state of a board that learned just this."""
    core = Core(BLOB, level=0)
    for stream, count in path:
        if stream:
            core.start(stream, CONFIG)
            if sum(1 for _ in core.learn(STREAMS[stream][:count])) < count:
                raise Wrong(f"no stream has as many samples: {path}")
    return core.state_crc()


class Clock:
    """Time that passes when somebody waits."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class World:
    """A board, its link, and everything that goes wrong with them.

    Faults that come once are drawn as numbers of chunks that reached the board: `pulls`, `resets`,
    `dead` (from then on nothing gets through), `kill` (of the host).
    """

    def __init__(self, rng: random.Random, store: Path | None, tell: Callable[[str], None]):
        self.rng, self.store, self.tell = rng, store, tell
        self.clock = Clock()
        self.error, self.drop = (rng.choice((0, 10 ** rng.uniform(-5, -3))) for _ in "ed")
        self.twice, self.late = (rng.choice((0, 0, rng.uniform(0, 0.1))) for _ in "tl")
        self.late_s = rng.choice((0.1, 3, 40))
        self.pulls = {rng.randrange(2, 40) for _ in range(rng.choice((0, 0, 1, 3)))}
        self.resets = {rng.randrange(2, 40) for _ in range(rng.choice((0, 0, 1, 3)))}
        self.dead = rng.choice((0,) * 9 + (rng.randrange(1, 30),))
        self.bad = rng.choice((0,) * 9 + (rng.randrange(1, 30),))
        self.kill = {rng.randrange(1, 30)} if rng.randrange(3) == 0 else set()
        self.host_speaks, self.peer_speaks = rng.choice(VERSIONS)
        self.host_change, self.peer_change = rng.choice(CHANGES)
        self.gap = self._next_gap()
        self.flying: list[tuple[float, int, bool, bytes]] = []
        self.links: list[Link] = []
        self.chunks = self.calls = self.sent = 0
        self.free_at = [0.0, 0.0]  # to the host, to the board
        self.port_back = 0.0
        self.dead_since: float | None = None
        self.others = False  # another host has been there
        self.path = self.saved = FACTORY
        self.boot()

    def say(self, text: str) -> None:
        """For whoever repeats a run."""
        self.tell(f"{self.clock.now:8.3f} s, chunk {self.chunks}, board {self.path}: {text}")

    # -- the board ---------------------------------------------------------

    def boot(self) -> None:
        """Power comes: noise, then the state that was saved last."""
        self.board = sim.SimBoard(BLOB, self.store, MEMORY_BYTES, STORE_BYTES)
        self.board.serve.protocol_min, self.board.serve.protocol_max = self.peer_speaks
        self.path = self.saved
        m = self.board.serve.model
        if (m.stream, m.last_id) != self.path[-1]:
            raise Lost(f"it starts with {(m.stream, m.last_id)}, {self.path} was saved")
        self.generation = m.generation
        self.check()
        noise = self.rng.choice((0, 0, 5, 200))
        if noise:
            self.send(self.rng.randbytes(noise), False)

    def check(self) -> None:
        """What it learned, and what it saved, since the last time."""
        m = self.board.serve.model
        now = (m.stream, m.last_id)
        if now[0] == self.path[-1][0]:
            self.path = (*self.path[:-1], now)
        elif now[0] in dict(self.path):
            raise Wrong(f"stream {now[0]} begins again after {self.path}")
        else:
            self.path = (*self.path, now)
        if sim.lib.wage_state_crc(sim.ffi.addressof(m)) != twin_crc(self.path):
            raise Wrong(f"not the state after {self.path}")
        if m.generation != self.generation:
            self.generation, self.saved = m.generation, self.path

    def arrive(self, data: bytes) -> None:
        """Bytes reach the board."""
        self.chunks += 1
        answer = self.board.exchange(data)
        self.check()
        for frame in answer.split(b"\0"):
            if frame:
                self.send(b"\0" + changed(self.peer_change, frame + b"\0"), False)
        if self.chunks in self.resets:
            self.say("the board is reset")
            self.boot()
        if self.chunks in self.pulls:
            self.pull(self.rng.choice((0.0, 1.0, 8.0)))
        if self.chunks == self.dead:
            self.dead_since = self.clock.now
            self.say("nothing gets through any more")
            if self.rng.randrange(2):
                self.pull(math.inf)
        if self.chunks == self.bad:
            self.say("hardly anything gets through any more")
            self.error, self.gap = 0.03, 0

    def heal(self) -> None:
        """Somebody has looked after the cable."""
        if self.chunks >= self.dead:
            self.dead_since, self.port_back = None, 0.0
        if self.bad and self.chunks >= self.bad:
            self.error = 0
            self.gap = self._next_gap()

    @property
    def hopeless(self) -> bool:
        """Whether a host may give up."""
        return self.dead_since is not None or bool(self.bad and self.chunks >= self.bad)

    # -- the link ----------------------------------------------------------

    def connect(self) -> "Link":
        """Opens the port."""
        self.tick()
        if self.clock.now < self.port_back:
            raise PortNotFound("the cable is pulled")
        return Link(self)

    def pull(self, for_s: float) -> None:
        """The cable is pulled: what was on it is cut off."""
        self.say(f"the cable is pulled for {for_s} s")
        self.port_back = self.clock.now + for_s
        for link in self.links:
            link.broken = True
        rest, self.flying = self.flying, []
        for _, _, to_board, data in rest[:2]:
            self.push(self.clock.now, to_board, data[: self.rng.randrange(len(data))])

    def tick(self) -> None:
        """Counts what the host does, to end it when it does so for ever."""
        self.calls += 1
        if self.calls > CALLS:
            raise Hang(f"{CALLS} calls of the link")
        if self.kill and self.chunks >= min(self.kill):
            self.kill.clear()
            raise Killed

    def _next_gap(self) -> float:
        """Bytes until one is hit."""
        p = self.error + self.drop
        return math.log(1 - self.rng.random()) / math.log(1 - p) if p else math.inf

    def push(self, due: float, to_board: bool, data: bytes) -> None:
        """These bytes will come in then."""
        if data:
            self.sent += 1
            heapq.heappush(self.flying, (due, self.sent, to_board, data))

    def send(self, data: bytes, to_board: bool) -> None:
        """One frame sets out."""
        if self.dead_since is not None:
            return
        rng = self.rng
        due = max(self.free_at[to_board], self.clock.now + rng.uniform(0.001, 0.02))
        self.free_at[to_board] = due = due + len(data) / 11520
        if rng.random() < self.late:
            self.say("a copy will come late")
            self.push(due + rng.uniform(0, self.late_s), to_board, data)
            if rng.randrange(2):
                return
        self.push(due, to_board, self.damage(data))
        if rng.random() < self.twice:
            self.say("doubled")
            self.push(due, to_board, data)

    def damage(self, data: bytes) -> bytes:
        """What is left of it on the way."""
        while self.gap < len(data):
            at = int(self.gap)
            if self.rng.random() * (self.error + self.drop) < self.drop:
                data = data[:at] + data[at + 1 :]
            else:
                data = data[:at] + self.rng.randbytes(1) + data[at + 1 :]
            self.say("a byte is hit")
            self.gap += 1 + self._next_gap()
        self.gap -= len(data)
        return data

    def pass_time(self, until: float) -> None:
        """Up to the next arrival, but not beyond `until`."""
        if not self.flying or self.flying[0][0] > until:
            self.clock.now = until
            return
        due, _, to_board, data = heapq.heappop(self.flying)
        self.clock.now = max(self.clock.now, due)
        if to_board:
            self.arrive(data)
        else:
            for link in self.links:
                link.waiting += data


class Link:
    """A host's end."""

    def __init__(self, world: World):
        self.world, self.waiting, self.broken = world, b"", False
        world.links.append(self)

    def _use(self) -> None:
        self.world.tick()
        if self.broken:
            raise LinkLost("the cable was pulled")

    def write(self, data: bytes) -> None:
        self._use()
        self.world.send(changed(self.world.host_change, data), True)

    def read(self, timeout_s: float) -> bytes:
        self._use()
        until = self.world.clock.now + timeout_s
        while not self.waiting and not self.broken and self.world.clock.now < until:
            self.world.pass_time(until)
        data, self.waiting = self.waiting, b""
        return data

    def close(self) -> None:
        if self in self.world.links:
            self.world.links.remove(self)


# -- peers of other versions --------------------------------------------------

Change = Callable[[wire.Message], wire.Message] | None


def changed(change: Change, data: bytes) -> bytes:
    """A frame as a peer of another version would send it."""
    if not change:
        return data
    return b"".join(wire.encode(change(m)) for m in wire.Reader(4096).feed(data)) or data


def newer(m: wire.Message) -> wire.Message:
    """With fields that we do not know."""
    return wire.Message(m.type, m.session, m.seq, (*m.fields, 0xDEAD, 0xBEEF), m.tail)


def older(m: wire.Message) -> wire.Message:
    """Without the fields that came last."""
    keep = {lib.WAGE_WELCOME: lib.WAGE_WELCOME_WEIGHT_CRC, lib.WAGE_NAK: 1}.get(m.type, 40)
    return wire.Message(m.type, m.session, m.seq, m.fields[:keep], m.tail)


CHANGES = [(None, None)] * 8 + [(newer, None), (None, newer), (None, older), (newer, older)]
VERSIONS = [((1, 1), (1, 1))] * 20 + [
    ((0, 1), (1, 3)), ((1, 7), (1, 1)), ((0, 99), (0, 4)), ((2, 3), (1, 1)), ((1, 1), (2, 9)),
]  # fmt: skip
