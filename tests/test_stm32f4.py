"""What QEMU cannot try of the netduinoplus2, clocks and flash, on a model of the chip."""

# SPDX-License-Identifier: MIT

from pathlib import Path

import pytest
from blobs import random_stream
from life import Life, model
from nor import MANNERS
from stm32f4 import BOARD, LOCK, PLLCFGR, SECTORS, STORE_BYTES, Stm32f4, compiled
from test_power import Trial, every_cut, forget, prepared_save, roll_back, save, to_factory
from wage_host._core import ffi, lib
from wage_host.core import Core

IO, NO = lib.WAGE_E_STORE_IO, lib.WAGE_E_NO_CHECKPOINT
SECTOR = SECTORS[-1]
SLOTS = 3
FLAGS = {"OPERR": 1 << 1, "WRPERR": 1 << 4, "PGAERR": 1 << 5, "PGPERR": 1 << 6, "PGSERR": 1 << 7}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The driver, compiled for this computer."""
    return compiled(tmp_path_factory.mktemp("driver"))


def aged(library: Path, saves: int, fill: int = 0xFF) -> Life:
    """A small model with so many saves behind it."""
    life = Life(model(0), Stm32f4(library, fill))
    for _ in range(saves):
        life.saved()
    return life


# -- what the board finds at its start ---------------------------------------------


def test_a_chip_has_a_store(library):
    flash = Stm32f4(library)
    store = flash.store
    assert (store.bytes, store.erase_bytes, store.program_bytes) == (STORE_BYTES, SECTOR, 4)
    assert (store.slots, store.guard_bytes, store.busy) == (SLOTS, SECTOR, ffi.NULL)
    assert (store.bytes - store.guard_bytes) // store.slots == SECTOR
    assert flash.cr == LOCK and flash.operations == 0 and flash.broken == []


@pytest.mark.parametrize("kind", ["emulator", "closed", "busy"])
def test_a_controller_that_does_not_answer_is_no_store(library, kind):
    flash = Stm32f4(library, kind=kind)
    assert flash.store == ffi.NULL and flash.operations == 0
    assert flash.place == (lib.WAGE_PLACE_EMULATOR if kind == "emulator" else lib.WAGE_PLACE_BOARD)
    assert flash.micros < 6_000_000


def clocks_are_right(library: Path, kind: str, core_hz: int) -> None:
    """UART and timer run as they should, whatever the core's clock; noise needs 48 MHz."""
    chip = Stm32f4(library, kind=kind)
    assert chip.broken == [] and chip.place == lib.WAGE_PLACE_BOARD
    assert chip.core_hz == core_hz
    apb1_hz, apb2_hz = chip.buses_hz
    timers_hz = apb1_hz if apb1_hz == chip.core_hz else 2 * apb1_hz
    assert timers_hz == 1_000_000 * (chip.registers[0x40000028] + 1)
    assert abs(apb2_hz / chip.registers[0x40011008] / 115200 - 1) < 0.005
    if not kind:
        assert chip.vco_hz // (chip.registers[PLLCFGR] >> 24 & 15) == 48_000_000


@pytest.mark.parametrize(("kind", "core_hz"), [("", 168_000_000), ("no crystal", 16_000_000)])
def test_clocks_are_right(library, kind, core_hz):
    clocks_are_right(library, kind, core_hz)


# -- saves and power ---------------------------------------------------------------


def generations_come_back(library: Path) -> None:
    """Saves into a flash that was never erased, round all slots; each comes back."""
    life = aged(library, 0, fill=0)
    flash = life.nor
    assert life.boot() == NO and flash.broken == []
    for generation in range(1, 2 * SLOTS):
        flash.power_on()
        state = life.saved()
        slot = (generation - 1) % SLOTS * SECTOR
        erased = [(at, count) for kind, at, count in flash.places if kind == "erase"]
        programmed = [at for kind, at, _ in flash.places if kind == "program"]
        assert erased == [(slot, SECTOR)]
        assert slot <= min(programmed) and max(programmed) < slot + SECTOR
        assert len(set(programmed)) == len(programmed)
        assert flash.cr == LOCK, "left unlocked"
        assert life.boot() == 0
        assert life.state() == state
    assert set(flash.bytes[SLOTS * SECTOR :]) == {0}, "the guard's sector was not asked for"


def test_generations_come_back(library):
    generations_come_back(library)


@pytest.mark.parametrize("action", [save, prepared_save, roll_back, to_factory, forget])
def test_power_cut_in_every_operation(library, action):
    """A word or a sector is an operation; none is lost or mixed, whatever was before."""
    for saves in (0, SLOTS + 1):
        assert every_cut(Trial(action, aged(library, saves))) >= len(MANNERS)


def error_is_told(library: Path, bits: int) -> None:
    """A call stops at this error and tells it; the next call has forgotten it."""
    flash, source = Stm32f4(library), ffi.new("uint8_t[12]")
    store = flash.store
    calls = ((1, lambda: store.erase(ffi.NULL, 0)),
             (3, lambda: store.program(ffi.NULL, 0, source, 12)))  # fmt: skip
    for operations, call in calls:
        for number in range(operations):
            flash.operations, flash.fail = 0, (number, bits)
            assert call() == IO
            assert flash.operations == number + 1, "went on after an error"
            assert flash.cr == LOCK, "left unlocked"
            flash.fail = None
            assert call() == 0
    assert flash.broken == []


def test_save_whose_slot_has_an_error_goes_to_the_next(library):
    life = aged(library, SLOTS)
    flash = life.nor
    for number in range(life.operations()):
        life.learn(1)
        flash.power_on(fail=(number, FLAGS["WRPERR"]))
        assert life.save() == 0 and flash.operations > number + 1
        state = life.state()
        assert life.boot() == 0 and life.state() == state


@pytest.mark.parametrize("flag", FLAGS)
def test_every_error_is_told_wherever_it_comes(library, flag):
    error_is_told(library, FLAGS[flag])


def test_controller_that_never_ends_is_given_up(library):
    life = aged(library, 1)
    life.nor.power_on()
    life.nor.kind = "busy"
    assert life.save() == IO
    assert 5_000_000 < life.nor.micros < 20_000_000
    assert life.nor.operations == 0


# -- at the edges --------------------------------------------------------------------


def touches_nothing_else(library: Path) -> None:
    """Calls off a unit or out of the store are refused; those at its ends are not."""
    flash, source = Stm32f4(library), ffi.new("uint8_t[]", 64)
    store, last = flash.store, STORE_BYTES - SECTOR
    beyond = 1 << 32
    for at, count in ((2, 4), (0, 6), (STORE_BYTES, 4), (STORE_BYTES - 4, 8), (beyond - 4, 8)):
        assert store.program(ffi.NULL, at, source, count) == IO, (at, count)
    for at in (4, SECTOR // 2, STORE_BYTES, beyond - SECTOR):
        assert store.erase(ffi.NULL, at) == IO, at
    assert flash.places == [] and flash.broken == []
    flash.bytes[:] = bytes(STORE_BYTES)
    for at in (0, last):
        assert store.erase(ffi.NULL, at) == 0
        assert store.program(ffi.NULL, at + SECTOR - 4, source + 1, 4) == 0  # `from` is off a word
    middle = flash.bytes[SECTOR:last]
    assert len(middle) == 2 * SECTOR and set(middle) == {0}
    assert flash.bytes[last:] == b"\xff" * (SECTOR - 4) + bytes(4)
    assert flash.broken == []


def test_nothing_but_the_store_is_touched(library):
    touches_nothing_else(library)


def test_a_guard_is_kept_in_the_last_sector(library):
    life = aged(library, 1)
    samples = list(random_stream(life.blob, 9, 5))
    flash = life.nor
    flash.power_on()
    for number, (x, label) in enumerate(samples, 1):
        put = ffi.from_buffer("int8_t[]", x)
        w = life.core.wage
        assert lib.wage_guard_put(w, flash.store, number, len(samples), 7, put, label) == 0
    assert min(at for _, at, _ in flash.places) >= SLOTS * SECTOR
    life.boot()
    which = ffi.new("uint32_t *")
    assert lib.wage_guard_count(life.core.wage, flash.store, which) == len(samples)
    assert which[0] == 7 and flash.broken == []
    assert life.core.state_crc() != Core(life.blob).state_crc()


# -- mistakes ------------------------------------------------------------------------

MISTAKES = {  # what stands in the driver, what stands there instead
    "flash without waits": ("#define ACR_5_WAITS 5u", "#define ACR_5_WAITS 0u"),
    "another crystal": ("336u << 6 | 25u", "336u << 6 | 8u"),
    "buses as fast as the core": ("(4u << 13 | 5u << 10)", "0u"),
    "PLL not started": ("set(RCC_CR, CR_PLL_ON);", ""),
    "port without a clock": ("set(RCC_AHB1ENR, ENABLE_GPIOB);", ""),
    "timer of another clock": ("hz / 1000000u - 1", "hz / 1000000u"),
    "the other key first": ("0x45670123u", "0xCDEF89ABu"),
    "sector before": ("#define FIRST_SECTOR 8u", "#define FIRST_SECTOR 7u"),
    "sector behind": ("#define FIRST_SECTOR 8u", "#define FIRST_SECTOR 9u"),
    "number of the sector a bit off": ("((n) << 3)", "((n) << 4)"),
    "all of the flash erased": ("#define CR_ERASE (1u << 1)", "#define CR_ERASE (3u << 1)"),
    "not started": ("reg_write(CR, command | CR_START);", ""),
    "not told to program": ("CR_BY_WORDS | CR_PROGRAM)", "CR_BY_WORDS)"),
    "by bytes": ("(2u << 8)", "(0u << 8)"),
    "not waited for a word": (
        "reg_write(STORE + at + i, word);\n        error = wait_ready(context);",
        "reg_write(STORE + at + i, word);",
    ),
    "not waited for a sector": (
        "reg_write(CR, command | CR_START);\n        error = wait_ready(context);",
        "reg_write(CR, command | CR_START);",
    ),
    "errors not looked at": ("return (status & SR_ERRORS) ?", "return 0 ?"),
    "errors not cleared": ("reg_write(SR, SR_ERRORS);", ""),
    "write protection not looked at": ("0xF2u", "0xE2u"),
    "left unlocked": ("    reg_write(CR, CR_LOCK);\n    reg_write(ACR, access);",
                      "    reg_write(ACR, access);"),
    "cache not emptied": ("access | ACR_DATA_CACHE_RESET);\n    reg_write(ACR, access);",
                          "access);"),
    "cache emptied in use": ("& ~ACR_DATA_CACHE;", "| ACR_DATA_CACHE;"),
    "last word not programmed": ("i < count && !error", "i < count - 4 && !error"),
    "went on after an error": ("i < count && !error", "i < count"),
    "a word too far": ("count <= STORE_BYTES - at;", "count <= STORE_BYTES - at + 4;"),
    "half a sector": ("if (!fits(at, SECTOR_BYTES, SECTOR_BYTES))",
                      "if (!fits(at, 4, 4))"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_is_found(mistake, tmp_path):
    old, new = MISTAKES[mistake]
    assert sum(path.read_text(encoding="utf-8").count(old) for path in BOARD.glob("*.c")) == 1
    library = compiled(tmp_path, old, new)
    with pytest.raises(AssertionError):
        clocks_are_right(library, "", 168_000_000)
        test_a_chip_has_a_store(library)
        generations_come_back(library)
        touches_nothing_else(library)
        for flag in FLAGS:
            error_is_told(library, FLAGS[flag])
