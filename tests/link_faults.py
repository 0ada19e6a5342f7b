"""Hosts learn over a link on which everything goes wrong: one run, drawn from a seed.

    .venv/bin/python tests/link_faults.py SEED NUMBER

repeats one run and tells what happened in it.
"""

# SPDX-License-Identifier: MIT

import math
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

from bad_link import CONFIG, COUNT, FACTORY, STREAMS, Hang, Killed, Lost, World
from wage_host import session as session_module
from wage_host import sim
from wage_host.core import Policy
from wage_host.device import FAULTS_MAX, SAVE_S, Device
from wage_host.errors import NoAnswer, PortBusy, PortNotFound, ProtocolMismatch, Refused, WageError

DEADLINE_S = 30.0  # that of Device
GIVE_UP_S = SAVE_S + DEADLINE_S + 1  # from the last byte to the error
STEP_S = (FAULTS_MAX + 1) * GIVE_UP_S  # one record, whatever happens
ATTEMPTS = 12  # hosts, one after the other


def host(world: World, stream: int, count: int, save_every: int) -> Iterator[int]:
    """A host's process: learns the whole stream and looks at the result."""
    done = 0
    if world.port_back < math.inf:  # it is begun with the cable plugged in
        world.clock.now = max(world.clock.now, world.port_back)

    def hear(what: str, text: str, **_: int) -> None:
        nonlocal done
        world.say(f"host of {stream}: {what}: {text}")
        if what == "resume":
            done = d._last_id
        if what == "save" and not any(s == stream and i >= done for s, i in world.saved):
            raise Lost(f"sample {done} of {stream} was told as saved, {world.saved} is")

    with Device(world.connect, on_event=hear, protocol=world.host_speaks, clock=world.clock) as d:
        d.start(stream, CONFIG, Policy(every=save_every))
        while True:
            for record in d.learn(STREAMS[stream][:count], save_every > 0):
                done = record.id
                yield done
            if d.stats().last_id == count:
                return
            done = 0  # a board without a store was reset at the last moment


def step(world: World, one: Iterator[int], what: str) -> bool:
    """Lets a host work until its next record; False: it has ended. Its errors must be in place."""
    begun = world.clock.now
    try:
        next(one)
        return True
    except StopIteration:
        return False
    except Killed:
        world.say(f"{what} is killed")
    except WageError as error:
        world.say(f"{what} stops: {error!r}")
        expected = [PortBusy, Refused] * world.others + [NoAnswer, PortNotFound] * world.hopeless
        expected += [ProtocolMismatch] * (not meet(world))
        if not isinstance(error, tuple(expected)):
            raise AssertionError(f"{what} stopped: {error!r}") from error
    finally:
        spent_s = world.clock.now - begun
        if spent_s > STEP_S:
            raise Hang(f"{what} took {spent_s:.0f} s for one record")
        if world.dead_since is not None and (
            world.clock.now - max(begun, world.dead_since) > GIVE_UP_S
        ):
            raise Hang(f"{what} took {world.clock.now - world.dead_since:.0f} s to give up")
    world.stopped = True
    world.others = True  # what it sent may come late, and looks like another host's
    return False


def meet(world: World) -> bool:
    """Whether both ends know one version of the protocol."""
    (a, b), (c, d) = world.host_speaks, world.peer_speaks
    return max(a, c) <= min(b, d)


def learn(world: World, stream: int, count: int, save_every: int, second: int) -> None:
    """Hosts come and go until the stream is learned. `second`: the stream of another host."""
    others_at = world.rng.randrange(1, 30) if second else math.inf
    for _ in range(ATTEMPTS):
        world.stopped = False
        hosts = {"the host": host(world, stream, count, save_every)}
        while hosts:
            name = world.rng.choice(list(hosts))
            if not step(world, hosts[name], name):
                hosts.pop(name)
            if world.chunks >= others_at and hosts:
                world.others, others_at = True, math.inf
                world.say("another host comes")
                hosts["another host"] = host(world, second, count, save_every)
        if world.path[-1] == (stream, count) and not world.stopped:
            return
        if world.path[-1][0] not in (0, stream):  # then --resume refuses: finish the other
            stream = world.path[-1][0]
        if not meet(world):
            assert world.path == FACTORY, "peers that share no version have learned"
            world.host_speaks = world.peer_speaks = (1, 1)
            world.board.serve.protocol_min = world.board.serve.protocol_max = 1
        world.heal()
    raise Hang(f"{ATTEMPTS} hosts did not finish: {world.path}")


def run(
    seed: int, number: int, folder: Path, tell: Callable[[str], None] = lambda text: None
) -> None:
    """One run; raises Wrong, Lost, Hang, or AssertionError for an error that was not in place."""
    rng = random.Random(f"{seed} {number}")
    store = folder / "store" if rng.randrange(4) else None
    if store:
        store.unlink(missing_ok=True)
    count = rng.randint(10, COUNT)
    save_every = rng.choice((3, 5, count)) if store else 0
    second = rng.choice((0, 0, 0, 11, 12))
    world = World(rng, store, tell)
    honest = session_module.secrets
    session_module.secrets = sim.secrets = SimpleNamespace(
        randbelow=rng.randrange, randbits=rng.getrandbits
    )  # session numbers
    try:
        stream = 11
        if not second and rng.randrange(4) == 0:  # a job is left for another one
            one = host(world, stream, count, save_every)
            while step(world, one, "the first job") and rng.randrange(8):
                pass
            one.close()
            world.others = True
            stream = 12
        learn(world, stream, count, save_every, second)
    finally:
        session_module.secrets = sim.secrets = honest
    assert world.path[-1][1] == count
    if store:
        if world.saved != world.path:
            raise Lost(f"{world.path} was learned, {world.saved} is saved")
        world.boot()  # the plug is pulled


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        run(int(sys.argv[1]), int(sys.argv[2]), Path(scratch), print)
