"""The guard: put whole or not at all, asked before anything is kept, gone back to what is best."""

# SPDX-License-Identifier: MIT

import json
import random
import struct
from pathlib import Path

import guard_figures
import numpy as np
import pytest
from blobs import small_blob
from nor import MANNERS, Nor
from wage_host import demo, sim
from wage_host._core import ffi, lib
from wage_host.core import Config, Core, Policy, Sample
from wage_host.device import Device
from wage_host.link import SimLink

BLOB = small_blob(replay_capacity=6, replays=2)
CONFIG = Config(seed=5, lr_shift=0, replays=2, gain_shift=2, threshold=0)  # learns fast
SET = 77


def easy(seed: int, count: int) -> list[Sample]:
    """Samples that can be learned: the label is the largest of the first inputs."""
    rng, classes = np.random.default_rng(seed), Core(BLOB).info.classes
    xs = rng.integers(-127, 128, (count, Core(BLOB).info.input_bytes)).astype(np.int8)
    return [(x, int(x[:classes].argmax())) for x in xs]


def wrong(samples: list[Sample]) -> list[Sample]:
    """The same with other labels."""
    return [(x, (label + 1) % Core(BLOB).info.classes) for x, label in samples]


GUARD = easy(9, 12)
GUARD_BYTES = 512


def store(slots: int = 3) -> Nor:
    """Slots for the model and a guard behind them."""
    slot = -(-(lib.wage_checkpoint_bytes(Core(BLOB).wage) + 31) // 128) * 128
    nor = Nor(slots * slot + GUARD_BYTES, 128, 4, slots=slots)
    nor.store.guard_bytes = GUARD_BYTES
    return nor


def put(core: Core, nor: Nor, k: int, count: int = len(GUARD), name: int = SET, label=None) -> int:
    """Sample k, from 1, into the guard."""
    x, right = GUARD[k - 1]
    data = ffi.from_buffer("int8_t[]", np.ascontiguousarray(x, np.int8))
    label = right if label is None else label
    result = lib.wage_guard_put(core.wage, nor.store, k, count, name, data, label)
    assert nor.broken == []
    return result


def put_all(core: Core, nor: Nor, count: int = len(GUARD)) -> int:
    """The first samples as a guard; the first error."""
    return next((e for k in range(1, count + 1) if (e := put(core, nor, k, count))), 0)


def there(core: Core, nor: Nor) -> tuple[int, int]:
    """(samples, name) of the guard, or (error, 0)."""
    name = ffi.new("uint32_t *")
    count = lib.wage_guard_count(core.wage, nor.store, name)
    return count, name[0]


# -- putting it ------------------------------------------------------------------


def test_guard_is_laid_out_as_documented():
    core, nor = Core(BLOB), store()
    assert put_all(core, nor) == 0 and there(core, nor) == (len(GUARD), SET)
    at = len(nor.bytes) - GUARD_BYTES
    latent = core.info.latent_bytes
    record = -(-(latent + 1) // 4) * 4
    records = b"".join(
        (core.latent(x) + bytes([label])).ljust(record, b"\0") for x, label in GUARD
    )
    words = (1, SET, len(GUARD), core.info.crc, zlib_crc(records), record)
    header = struct.pack("<4s6I", b"WGRD", *words)
    header += struct.pack("<I", zlib_crc(header))
    assert bytes(nor.bytes[at:]) == (header + records).ljust(GUARD_BYTES, b"\xff")
    assert bytes(nor.bytes[:at]) == b"\xff" * at


def zlib_crc(data: bytes) -> int:
    import zlib

    return zlib.crc32(data)


def test_what_is_no_guard_is_refused():
    core, nor = Core(BLOB), store()
    room = lib.wage_guard_room(core.wage, nor.store)
    assert len(GUARD) <= room < GUARD_BYTES
    assert put(core, nor, 2) == lib.WAGE_E_ORDER  # not the first
    assert put(core, nor, 1, name=0) == lib.WAGE_E_ORDER
    assert put(core, nor, 3, count=2) == lib.WAGE_E_ORDER
    assert put(core, nor, 1, count=room + 1) == lib.WAGE_E_STORE_SIZE
    assert put(core, nor, 1, label=core.info.classes) == lib.WAGE_E_LABEL
    assert set(nor.bytes) == {0xFF}
    assert put(core, nor, 1) == put(core, nor, 1) == put(core, nor, 2) == 0
    assert put(core, nor, 4) == put(core, nor, 2, count=3) == lib.WAGE_E_ORDER
    assert there(core, nor) == (0, 0)
    assert put(core, nor, 1) == 0  # begins anew
    assert all(put(core, nor, k) == 0 for k in range(2, len(GUARD) + 1))
    assert there(core, nor) == (len(GUARD), SET)
    nor.power_on()
    assert put_all(core, nor) == 0 and nor.operations == 0  # it is there
    other = Core(small_blob(replay_capacity=5, replays=2))
    assert there(other, nor) == (0, 0)
    nor.store.guard_bytes = 0
    assert lib.wage_guard_room(core.wage, nor.store) == 0 and there(core, nor) == (0, 0)
    nor.store.guard_bytes = 64
    assert put(core, nor, 1) == lib.WAGE_E_STORE_SIZE
    nor.store.guard_bytes = 100  # no whole erase unit
    assert there(core, nor)[0] == lib.WAGE_E_STORE_SIZE


def test_power_cut_leaves_a_guard_whole_or_not_at_all():
    core, nor = Core(BLOB), store()
    assert lib.wage_save(core.wage, nor.store) == 0
    assert put_all(core, nor, 3) == 0
    kept, full = bytes(nor.bytes[:-GUARD_BYTES]), bytes(nor.bytes)
    nor.power_on()
    assert put_all(core, nor) == 0
    operations = nor.operations
    seen = set()
    for cut in ((n, manner) for n in range(operations) for manner in MANNERS):
        nor.bytes[:], nor.used[:] = full, b"\1" * len(full)
        nor.power_on(cut)
        core = Core(BLOB)
        assert put_all(core, nor) == lib.WAGE_E_STORE_IO
        nor.power_on()
        core = Core(BLOB)
        assert bytes(nor.bytes[:-GUARD_BYTES]) == kept
        seen.add(found := there(core, nor))
        assert found in ((0, 0), (3, lib.WAGE_OK + SET), (len(GUARD), SET))
        assert put_all(core, nor) == 0 and there(core, nor) == (len(GUARD), SET)
    assert len(seen) == 3
    assert operations > len(GUARD)


def test_store_that_fails_is_told():
    for kind in ("read", "program", "erase"):
        core, nor, failed = Core(BLOB), store(), 0
        for number in range(200):
            nor.power_on(fail=(kind, number))
            if put_all(core, nor) == 0:
                break
            failed += 1
            core = Core(BLOB)
        assert failed and number < 199
        nor.power_on()
        assert put_all(core, nor) == 0 and there(core, nor) == (len(GUARD), SET)


# -- keeping ---------------------------------------------------------------------


def learned(core: Core) -> tuple:
    """What going back brings back."""
    w = core.wage
    replay = bytes(ffi.buffer(w.replay_sample, w.replay_count * w.latent_bytes))
    labels = bytes(ffi.buffer(w.replay_label, w.replay_count))
    return (core.weight_crc(), replay, labels, [w.class_total[c] for c in range(w.classes)])


class Model:
    """SPEC 7.9 in a few lines: what a board must hold after each sample."""

    def __init__(self, slots: int, policy: Policy, guard: list[Sample]):
        self.slots, self.policy, self.guard = slots, policy, guard
        self.best: int | None = None
        self.saves: list[tuple[int, tuple]] = []  # score and what was learned, oldest first
        self.refused = 0

    def keep(self, core: Core) -> tuple[int, tuple]:
        """What wage_keep must return, and what must be learned then. Asks `core`, not the store."""
        score = sum(r.prediction == r.label for r in core.evaluate(self.guard))
        now, first = learned(core), self.best is None and bool(self.guard)
        best = -1 if self.best is None else self.best
        spent = self.policy.wear_max and len(self.saves) >= self.policy.wear_max and not first
        refused = bool(self.guard) and not first and score < best - self.policy.margin
        if refused:
            there = self.saves[-(self.slots - 1) :]
            score, now = max(reversed(there), key=lambda save: save[0])
            self.refused += 1
        elif self.policy.improved and self.guard and not first and score <= best:
            return lib.WAGE_PASSED, now
        if spent:
            return lib.WAGE_REFUSED if refused else lib.WAGE_PASSED, now
        if self.guard:
            self.best = max(best, score)
        self.saves.append((score, now))
        return lib.WAGE_REFUSED if refused else lib.WAGE_SAVED_NOW, now


POLICIES = [
    Policy(every=5, margin=0),
    Policy(every=3, margin=2),
    Policy(every=4, margin=1, improved=True),
    Policy(every=4, margin=0, wear_max=6),
    Policy(every=2, margin=1, wear_max=3, improved=True),
]


@pytest.mark.parametrize("slots", [2, 3, 4])
@pytest.mark.parametrize("policy", POLICIES, ids=str)
@pytest.mark.parametrize("guarded", [True, False])
def test_what_is_kept_is_what_the_specification_says(slots, policy, guarded):
    core, nor = Core(BLOB), store(slots)
    if guarded:
        assert put_all(core, nor) == 0
    model = Model(slots, policy, GUARD if guarded else [])
    given = ffi.new("struct wage_policy *", vars(policy))
    rng, count = random.Random(slots), dict.fromkeys(range(4), 0)
    stream = easy(5, 60) + wrong(easy(6, 30)) + easy(7, 30) + wrong(easy(8, 30))
    core.start(1, CONFIG)
    for sample in [None, *stream]:
        if sample:
            list(core.learn([sample]))
        w, due = core.wage, lib.wage_due(core.wage, nor.store, given)
        fresh = guarded and w.last_id == 0
        assert due == (w.last_id % policy.every == 0 and (w.last_id > 0 or fresh))
        if rng.randrange(2) and slots > 2:
            assert lib.wage_prepare(w, nor.store) >= 0  # erasing ahead changes nothing
        if not due:
            continue
        place = (w.last_id, w.step, w.sample, w.metrics.samples)
        expected, after = model.keep(core)
        assert lib.wage_keep(w, nor.store, given) == expected
        assert nor.broken == []
        assert learned(core) == after
        assert (w.last_id, w.step, w.sample, w.metrics.samples) == place
        assert (w.refused, w.generation) == (model.refused, len(model.saves))
        assert w.best == (model.best or 0)
        assert lib.wage_due(w, nor.store, given) == 0  # once
        count[expected] += 1
    if guarded:
        assert model.refused > 0
    assert count[lib.WAGE_SAVED_NOW] + count[lib.WAGE_REFUSED] > 0
    assert not (policy.wear_max or policy.improved) or count[lib.WAGE_PASSED] > 0 or not guarded


@pytest.mark.parametrize("manner", MANNERS)
def test_after_a_cut_in_keeping_the_same_is_learned(manner):
    """Power fails in every operation of a stream that the guard refuses now and then."""
    stream = easy(5, 12) + wrong(easy(6, 12))
    given = ffi.new("struct wage_policy *", {"every": 4, "margin": 0})

    def live(core: Core, nor: Nor) -> int:
        core.start(1, CONFIG)
        for k in [None, *range(core.wage.last_id, len(stream))]:
            if k is not None:
                list(core.learn([stream[k]]))
            due = lib.wage_due(core.wage, nor.store, given)
            kept = lib.wage_keep(core.wage, nor.store, given) if due == 1 else due
            if kept < 0:
                return kept
        return 0

    core, nor = Core(BLOB), store()
    assert put_all(core, nor) == 0
    full = bytes(nor.bytes), bytes(nor.used)
    nor.power_on()
    assert live(core, nor) == 0
    expected, operations = core.state_crc(), nor.operations
    assert core.wage.refused > 0
    for n in range(operations):
        nor.bytes[:], nor.used[:] = full
        nor.power_on((n, manner))
        assert live(Core(BLOB), nor) == lib.WAGE_E_STORE_IO
        nor.power_on()
        core = Core(BLOB)
        restored = lib.wage_restore(core.wage, nor.store)
        assert restored in (0, lib.WAGE_E_NO_CHECKPOINT)
        assert restored or lib.wage_due(core.wage, nor.store, given) == 0  # it was kept
        assert live(core, nor) == 0 and nor.broken == []
        assert core.state_crc() == expected


def test_damaged_guard_is_told_and_nothing_is_kept():
    core, nor = Core(BLOB), store()
    assert put_all(core, nor) == 0
    given = ffi.new("struct wage_policy *", {"every": 1})
    core.start(1, CONFIG)
    nor.bytes[len(nor.bytes) - GUARD_BYTES + 40] ^= 1
    before = core.state_crc()
    assert lib.wage_keep(core.wage, nor.store, given) == lib.WAGE_E_GUARD
    assert core.state_crc() == before and core.wage.generation == 0


def test_save_that_fails_does_not_raise_the_best():
    core, nor = Core(BLOB), store()
    assert put_all(core, nor) == 0
    given = ffi.new("struct wage_policy *", {"every": 1})
    core.start(1, CONFIG)
    real = nor.store.program
    nor.program_with(lambda *_: lib.WAGE_E_STORE_IO)
    assert lib.wage_keep(core.wage, nor.store, given) == lib.WAGE_E_STORE_IO
    assert core.wage.best == 0
    nor.store.program = real
    nor.used[:] = bytes(len(nor.used))
    assert lib.wage_keep(core.wage, nor.store, given) == lib.WAGE_SAVED_NOW


# -- on a board, and whether it is worth it --------------------------------------


def test_refused_samples_are_not_sent_again(tmp_path):
    """The host learns a stream of wrong labels: each sample goes to the board once."""
    board, sent = sim.SimBoard(BLOB, tmp_path / "store"), []
    stream = wrong(GUARD * 4)

    class Counting(SimLink):
        def write(self, data: bytes) -> None:
            sent.append(data)
            super().write(data)

    with Device(lambda: Counting(board)) as device:
        device.start(3, CONFIG)
        list(device.learn(GUARD * 6))
        assert list(device.guard(GUARD, SET)) == list(range(1, len(GUARD) + 1))
        device.hello()
        assert (device.welcome.guard_set, device.welcome.guard_count) == (SET, len(GUARD))
        assert device.welcome.guard_room >= len(GUARD)
        events = []
        device.on_event = lambda what, text, **_: events.append(what)
        device.start(4, CONFIG, Policy(every=6, margin=1))
        sent.clear()
        records = list(device.learn(stream, True))
        assert [r.id for r in records] == list(range(1, len(stream) + 1))
        assert len(sent) <= len(stream) + 1  # perhaps a SAVE in the end
        stats = device.stats()
        assert stats.refused == events.count("refused") > 0
        assert stats.last_id == len(stream)
        device.reset(lib.WAGE_RESTART)
        assert device.welcome.last_id == len(stream)
        assert device.stats().refused == stats.refused


@pytest.mark.soak  # the demo, many times
def test_figures_are_those_in_the_documents(demo_files: demo.Files):
    rows = guard_figures.measure(demo_files)
    docs = Path(guard_figures.DOCS)
    assert rows == json.loads((docs / "guard.json").read_text(encoding="utf-8"))
    assert guard_figures.text(rows) == (docs / "guard.md").read_text(encoding="utf-8")
    by_what = {(row["flipped"] > 0, row["start"] > 90): row for row in rows}
    harmed = by_what[True, True]
    assert harmed["margin_2"]["mean"] >= harmed["start"] - 2  # what the guard is for
    for clean in (by_what[False, False], by_what[False, True]):
        gain = clean["unguarded"]["mean"] - clean["start"]
        assert clean["margin_2"]["mean"] - clean["start"] >= 0.8 * gain
