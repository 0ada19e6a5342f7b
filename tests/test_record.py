"""Inputs of a board's own sensor, taken home: the same integers, none twice, nothing lost."""

# SPDX-License-Identifier: MIT

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_models
import pytest
import test_field
import test_learn
from blobs import dense, make_blob, random_weights
from click.testing import CliRunner
from test_auth import KEY
from wage_host import cli, data, device, options, sim, unpack
from wage_host._core import ffi, lib
from wage_host.core import info
from wage_host.device import Device
from wage_host.errors import NoAnswer
from wage_host.link import SimLink

SHAPE, CLASSES = (1, 6, 2), 4


class Ticker(test_field.World):
    """Senses a new input at each `slow`-th look: its number, then numbers that only it has."""

    def __init__(self, slow: int = 1, most: int = 1 << 30):
        super().__init__()
        self.slow, self.most, self.looks, self.given = slow, most, 0, []

    def sense(self, _port: object, x: object, count: int) -> int:
        self.looks += 1
        if self.looks % self.slow or len(self.given) == self.most:
            return 0
        made = np.random.default_rng(len(self.given)).integers(-128, 128, count)
        self.given.append(made.astype(np.int8))
        ffi.memmove(x, self.given[-1], count)
        return 1

    def label(self, _port: object) -> int:
        return len(self.given) % 6 - 1  # -1: nothing is said; 4: there is no such class


def model(shape: tuple[int, int, int] = SHAPE) -> bytes:
    """A small model."""
    layer = dense(CLASSES, flags=1, alpha_shift=2)
    layer["weights"] = random_weights(layer, shape, test_field.random.Random(3))
    return make_blob([layer], shape)


def board_of(world: test_field.World, blob: bytes | None = None, **more: object) -> sim.SimBoard:
    """A board that senses this."""
    board = sim.SimBoard(blob or model(), field=world.field, **more)
    board.world = world  # as long as it lives
    return board


def taken(world: Ticker, found: list[tuple[np.ndarray, int | None]]) -> list[int]:
    """Numbers of the inputs that came, each the very integers, with what the button said."""
    numbers = []
    for x, label in found:
        assert (x.shape, x.dtype) == (SHAPE, np.int8)
        (at,) = (k for k, given in enumerate(world.given) if (given == x.ravel()).all())
        said = (at + 1) % 6 - 1
        assert label == (said if 0 <= said < CLASSES else None)
        numbers.append(at)
    return numbers


def some(board: Device, count: int, rate: float = 0.0) -> list[tuple[np.ndarray, int | None]]:
    """So many inputs."""
    return [one for one, _ in zip(board.sense(rate), range(count), strict=False)]


@pytest.mark.parametrize("slow", [1, 7])
def test_each_input_comes_once_and_nothing_is_learned(slow: int):
    world = Ticker(slow)
    board = board_of(world)
    with Device(lambda: SimLink(board)) as host:
        before = host.stats().state_crc, board.serve.model.last_id
        numbers = taken(world, some(host, 20))
        assert sorted(set(numbers)) == numbers and len(numbers) == 20
        assert (host.stats().state_crc, board.serve.model.last_id) == before


def test_it_is_the_newest():
    world = Ticker()
    board = board_of(world)
    with Device(lambda: SimLink(board)) as host:
        for _ in range(5):
            board.exchange(b"")
        last = len(world.given) - 1
        assert taken(world, some(host, 1)) == [last]


@pytest.mark.parametrize("phases", [False, True], ids=["quiet", "tells"])
@pytest.mark.parametrize("key", [None, KEY], ids=["open", "keyed"])
@pytest.mark.parametrize("size", [1, 60, 250, 3000])
def test_inputs_of_any_size_fit_the_frame(size: int, key: bytes | None, phases: bool):
    world, shape = Ticker(), (1, size, 1)
    board = board_of(world, model(shape), key=key, phases=phases)
    with Device(lambda: SimLink(board), key=key) as host:
        for x, _ in some(host, 3):
            assert any((given == x.ravel()).all() for given in world.given)


@pytest.mark.parametrize("case", range(8))
def test_bad_link_gives_no_input_twice_and_none_damaged(case: int, seed: int):
    world, rng = Ticker(3), np.random.default_rng(seed + case)
    board = board_of(world)
    with Device(
        lambda: test_learn.BadLink(board, rng, 0.1), deadline_s=60.0, answer_s=0.02, hello_s=0.02
    ) as host:
        numbers = taken(world, some(host, 60))
    assert sorted(set(numbers)) == numbers and len(numbers) == 60


def test_refusals_say_why(tmp_path: Path):
    board = test_field.Sensing(tmp_path, test_field.World())
    assert board.do(lib.WAGE_SENSE) == "INPUT"
    board.alone(test_field.SAMPLES[:1])
    assert board.do(lib.WAGE_SENSE) == "ok"
    assert board.do(lib.WAGE_TEACH, id=1, label=0) == "INPUT"  # it is the host's now
    for said, told in ((2, 2), (3, 2**32 - 1), (-1, 2**32 - 1)):
        board.alone([(test_field.SAMPLES[0][0], said)])
        assert board.ask(lib.WAGE_SENSE, board.session).named().label == told
    assert test_field.Faulty(tmp_path, store=None).do(lib.WAGE_SENSE) == "TYPE"
    none = test_field.Sensing(tmp_path, Ticker(), blob=test_field.BLOB[:-1])
    assert none.do(lib.WAGE_SENSE) == "MODEL"
    quiet = board_of(Ticker(most=2))
    with (
        Device(lambda: SimLink(quiet), answer_s=0.05) as host,
        pytest.raises(NoAnswer, match=r"sensed nothing for 0\.05 s: check its sensor"),
    ):
        some(host, 3)


def test_older_firmware_that_gives_other_inputs_is_found(monkeypatch: pytest.MonkeyPatch):
    with Device(lambda: SimLink(board_of(Ticker()))) as host:
        host.info = test_field.info(model((1, 5, 1)))
        with pytest.raises(NoAnswer, match="inputs of another size: update its firmware"):
            some(host, 1)


def test_no_more_a_second_than_asked_for(monkeypatch: pytest.MonkeyPatch):
    class Clock:
        now = 100.0

        def monotonic(self) -> float:
            return self.now

        def sleep(self, seconds: float) -> None:
            assert seconds >= 0
            self.now += seconds

    for rate, least in ((4.0, 19 / 4), (1000.0, 0.0)):
        clock, world = Clock(), Ticker(5)
        with Device(lambda world=world: SimLink(board_of(world)), clock=clock) as host:
            some(host, 20, rate)
        assert least <= clock.now - 100 < least + 0.5


# -- the command ---------------------------------------------------------------


@pytest.fixture
def do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict]:
    """A command in this process and folder, and what it says in JSON."""
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> dict:
        done = CliRunner().invoke(cli.wage_host, [*map(str, words), "--json"],
                                  standalone_mode=False)  # fmt: skip
        return json.loads(done.stdout.splitlines()[-1]) | {"said": done.stderr}

    return run


@pytest.fixture
def port(served: Callable[..., str]) -> Callable[..., str]:
    """The port of a board that senses this."""
    return lambda world, **more: served(sim.serve_socket, board_of(world, **more), 0)


def integers(world: Ticker, path: str) -> list[int]:
    """Numbers of the inputs in a file."""
    x = data.load(Path(path)).x
    return taken(world, [(one, (at + 1) % 6 - 1 if (at + 1) % 6 - 1 in range(4) else None)
                         for one in x for at, given in enumerate(world.given)
                         if (given == one.ravel()).all()])  # fmt: skip


def test_classes_are_recorded_one_after_the_other(do: Callable, port: Callable):
    world = Ticker()
    to = ("--port", port(world), "-o", "own.npz")
    assert do("data", "record", "wave", "--samples", 5, *to)["classes"] == {"wave": 5}
    assert do("data", "record", "rest", "--samples", 3, *to)["classes"] == {"wave": 5, "rest": 3}
    told = do("data", "record", "wave", "--samples", 2, *to)
    assert told["classes"] == {"wave": 7, "rest": 3} and "2 inputs more, 10 in all" in told["said"]
    with np.load("own.npz") as file:
        assert file["x"].dtype == np.int8 and file["x"].shape == (10, *SHAPE)
        assert file["y"].tolist() == [0] * 5 + [1] * 3 + [0] * 2
        assert file["names"].tolist() == ["wave", "rest"]
        assert file["boards"].tolist() == ["sim (simulated on this computer)"]
    numbers = integers(world, "own.npz")
    assert sorted(set(numbers)) == numbers and len(numbers) == 10
    shown = do("data", "show", "own.npz")
    assert shown["classes"] == {"wave": 7, "rest": 3} and shown["shapes"] == {"1x6x2": 10}


def test_buttons_say_what_it_is(do: Callable, port: Callable):
    world = Ticker()
    told = do("data", "record", "--samples", 20, "--port", port(world), "-o", "own.npz")
    assert sum(told["classes"].values()) == 20 and set(told["classes"]) == set("0123")
    with np.load("own.npz") as file:
        assert "names" not in file
        for x, y in zip(file["x"], file["y"], strict=True):
            (at,) = (k for k, given in enumerate(world.given) if (given == x.ravel()).all())
            assert (at + 1) % 6 - 1 == y
    do("data", "record", "odd", "--samples", 1, "--port", port(world), "-o", "own.npz")
    raw = data.read(Path("own.npz"))
    assert raw.names == ("0", "1", "2", "3", "odd") and raw.labels[-1] == 4


def test_recorded_data_are_the_same_integers_everywhere(do: Callable, port: Callable):
    world = Ticker()
    to = ("--port", port(world), "-o", "own.npz", "--samples", 12)
    for name in ("b", "a"):
        assert do("data", "record", name, *to)["ok"]
    exact = np.load("own.npz")["x"]
    net = ("--network", "1x6x2 3FC", "--free-classes", 1, "--classes", "a,b,c")
    assert do("train", "--data", "own.npz", *net, "--epochs", 1, "-o", "n.npz")["ok"]
    assert do("convert", "n.npz", "-o", "n.wage", "--replay", 24, "--replay-data", "own.npz",
              "--replay-inputs")["ok"]  # fmt: skip
    told = info(Path("n.wage").read_bytes())
    assert (told.extras.names, told.extras.steps) == (("a", "b", "c"), ())
    again = data.samples(data.load(Path("own.npz"), told.extras), told)
    np.testing.assert_array_equal([x for x, _ in again], exact.reshape(24, -1))
    assert [label for _, label in again] == [1] * 12 + [0] * 12
    kept = unpack.unpacked(Path("n.wage").read_bytes()).replay
    assert sorted(x for x, _ in kept) == sorted(x.tobytes() for x in exact)
    learn = ("learn", "--port", "sim", "--model", "n.wage", "--data", "own.npz", "--log", "log")
    assert do(*learn)["samples"] == 24
    refusal = do("train", "--data", "own.npz", *net, "--prepare", "normalise", "-o", "m.npz")
    assert refusal["code"] == 2 and "leave out --prepare" in refusal["error"]


def test_steps_of_a_model_are_behind_what_a_board_sensed(do: Callable, port: Callable):
    """They are not done twice."""
    to = ("data", "record", 1, "--samples", 9, "--port", port(Ticker()), "-o", "own.npz")
    assert do(*to)["classes"] == {"1": 9}
    x = np.random.default_rng(1).integers(0, 1000, (20, 12))
    np.savez("raw.npz", x=x, y=np.arange(20) % 3)
    net = ("--network", "1x1x12 3FC", "--epochs", 1)
    assert do("train", "--data", "raw.npz", *net, "--prepare", "normalise", "-o", "n.npz")["ok"]
    assert do("convert", "n.npz", "-o", "n.wage")["ok"]
    extras = info(Path("n.wage").read_bytes()).extras
    assert len(extras.steps) == 1
    exact = np.load("own.npz")["x"]
    np.testing.assert_array_equal(data.load(Path("own.npz"), extras).x, exact)
    shown = do("data", "show", "own.npz", "--model", "n.wage")
    assert (shown["low"], shown["prepare"]) == (exact.min(), [])


def test_models_of_others_are_calibrated_with_them(do: Callable, port: Callable, tmp_path: Path):
    to = ("data", "record", "--samples", 30, "--port", port(Ticker()), "-o", "own.npz")
    assert do(*to)["ok"]
    with np.load("own.npz") as file:
        data.save(Path("plain.npz"), file["x"], file["y"])
    maker = onnx_models.Maker((12,))
    maker.dense(4, 12)
    source, made = onnx_models.save(maker.model(), tmp_path), []
    for name in ("own.npz", "plain.npz"):
        known = ("--samples", name, "--input-scale", "1/128", "--name", "same")
        assert do("convert", source, *known, "-o", "m.wage")["judged_by"] == 30
        made.append(Path("m.wage").read_bytes())
    assert made[0] == made[1]


def test_what_does_not_fit_is_refused_and_left(do: Callable, port: Callable, tmp_path: Path):
    url = port(Ticker())
    to = ("data", "record", "a", "--samples", 2, "--port", url)
    assert do(*to, "-o", "own.npz")["ok"]
    before = Path("own.npz").read_bytes()
    other = port(Ticker(), blob=model((1, 5, 2)))
    told = do("data", "record", "a", "--samples", 2, "--port", other, "-o", "own.npz")
    assert told["code"] == 10 and "inputs of 1x6x2, the board's model takes 1x5x2" in told["error"]
    assert Path("own.npz").read_bytes() == before
    data.save(Path("x.npz"), np.zeros((3, 12), np.int8), np.zeros(3))
    Path("y.npz").write_bytes(before[:-40])
    for name, code, text in (
        ("x.npz", 8, "holds other data, not what a board sensed"), ("y.npz", 8, "truncated"),
        ("z.csv", 2, "recordings are .npz files"), ("no/z.npz", 19, "make the folder"),
    ):  # fmt: skip
        told = do(*to, "-o", name)
        assert told["code"] == code and text in told["error"], told
    told = do("data", "record", " ", "--samples", 2, "--port", url, "-o", "own.npz")
    assert told["code"] == 2 and "needs a name" in told["error"]


def test_board_without_a_sensor_or_a_model(do: Callable, served: Callable, port: Callable):
    url = served(sim.serve_socket, sim.SimBoard(model()), 0)
    told = do("data", "record", "a", "--samples", 2, "--port", url, "-o", "own.npz")
    assert told["code"] == 2 and told["error"].startswith("the board has no inputs of its own")
    told = do("data", "record", "a", "--samples", 2, "--port", port(Ticker(), blob=model()[:-1]),
              "-o", "own.npz")  # fmt: skip
    assert told["code"] == 15 and "the board's model is unusable" in told["error"]
    assert not Path("own.npz").exists()


def test_what_came_is_kept_when_no_more_comes(
    do: Callable, port: Callable, monkeypatch: pytest.MonkeyPatch
):
    hasty = lambda *given, **more: Device(*given, **more | {"answer_s": 0.3})  # noqa: E731
    monkeypatch.setattr(options, "Device", hasty)
    to = ("--port", port(Ticker(most=6)), "-o", "own.npz")
    told = do("data", "record", "a", "--samples", 9, *to)
    assert told["code"] == 5 and "check its sensor" in told["error"]
    came = len(np.load("own.npz")["y"])
    assert 0 < came <= 6 and f"own.npz has {came} inputs more, {came} in all" in told["said"]


def test_ctrl_c_keeps_what_has_come(
    do: Callable, port: Callable, monkeypatch: pytest.MonkeyPatch
):
    def interrupted(host: Device, rate: float):
        for count, one in enumerate(device.Device.honest(host, rate)):
            if count == 4:
                raise KeyboardInterrupt
            yield one

    monkeypatch.setattr(device.Device, "honest", device.Device.sense, raising=False)
    monkeypatch.setattr(device.Device, "sense", interrupted)
    to = ("data", "record", "a", "--samples", 9, "--port", port(Ticker()), "-o", "own.npz")
    for count in (4, 8):
        told = do(*to)
        assert told["code"] == 130 and f"4 inputs more, {count} in all" in told["error"]
    assert len(np.load("own.npz")["y"]) == 8
