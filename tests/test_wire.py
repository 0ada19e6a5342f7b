"""The C codec against other people's: PyPI's cobs and zlib's CRC-32."""

# SPDX-License-Identifier: MIT

import random
import struct
import zlib

import pytest
from cobs import cobs
from wage_host import wire
from wage_host._core import ffi, lib
from wage_host.core import ERROR_NAMES

HEADER = lib.WAGE_BODY_HEADER_BYTES
LENGTHS = range(1101)  # of a body: four blocks of 254 and their limits
FILLS = {
    "zeros": bytes,
    "no zeros": lambda n: b"\x5a" * n,
    "ends in zero": lambda n: b"\x5a" * (n - 1) + b"\0" if n else b"",
    "random": lambda n: random.Random(n).randbytes(n),
    "few zeros": lambda n: bytes(random.Random(n).choices((0, 7), (1, 250), k=n)),
}


def expected_frame(m: wire.Message) -> bytes:
    """The frame of a message, made without our code."""
    body = struct.pack("<BBHH", m.type, len(m.fields), m.session, m.seq)
    body += struct.pack(f"<{len(m.fields)}I", *m.fields) + m.tail
    return cobs.encode(body + struct.pack("<I", zlib.crc32(body))) + b"\0"


def decode(raw: bytes, room: int | None = None) -> wire.Message | str:
    """The message of a frame (without its zero), or the name of the error."""
    reader = wire.Reader(room or len(raw) or 1)
    found = reader.feed(raw + b"\0")
    return found[0] if found else reader.errors[0] if reader.errors else ""


def decode_frame(raw: bytes) -> int:
    """What wage_frame_decode itself returns, given exactly these bytes."""
    frame = ffi.new("uint8_t[]", raw) if raw else ffi.new("uint8_t[1]")
    return lib.wage_frame_decode(frame, len(raw), ffi.new("struct wage_message *"))


@pytest.mark.parametrize("fill", FILLS)
def test_frames_are_those_of_other_codecs_at_every_length(fill):
    for length in LENGTHS:
        if length < HEADER:
            continue
        m = wire.Message(3, length, 65535 - length, tail=FILLS[fill](length - HEADER))
        frame = wire.encode(m)
        assert frame == expected_frame(m), length
        assert len(frame) <= lib.wage_frame_bytes(length)
        assert decode(frame[:-1]) == m, length


@pytest.mark.parametrize("fill", FILLS)
def test_a_right_frame_of_another_codec_is_read_at_every_length(fill):
    """Bodies of any bytes: too short ones are refused, the others are what they say."""
    for length in LENGTHS:
        body = bytearray(FILLS[fill](length))
        if length > 1:
            body[1] = min(body[1], (length - HEADER) // 4) if length >= HEADER else 0
        got = decode(cobs.encode(bytes(body) + struct.pack("<I", zlib.crc32(body))))
        if length < HEADER:
            assert got == "WAGE_E_FRAME_SHORT"
            continue
        assert (got.type, got.session, got.seq) == struct.unpack_from("<BxHH", body)
        kept = min(body[1], lib.WAGE_FIELDS_MAX)
        assert got.fields == struct.unpack_from(f"<{kept}I", body, HEADER)
        assert got.tail == body[HEADER + 4 * body[1] :]


def test_longest_frame_fits_what_frame_bytes_says():
    most = [len(cobs.encode(b"\1" * (n + 4))) + 1 for n in LENGTHS]
    assert all(0 <= lib.wage_frame_bytes(n) - m <= 1 for n, m in zip(LENGTHS, most, strict=True))


def test_encoding_into_too_little_room_stays_inside():
    for tail in (b"", bytes(300), b"\1" * 300):
        m = wire.Message(3, 1, 2, (5, 0), tail)
        frame = wire.encode(m)
        out = ffi.new("struct wage_message *")
        out.type, out.fields, out.session, out.seq = m.type, 2, m.session, m.seq
        out.field[0:2] = m.fields
        data = ffi.new("uint8_t[]", tail or b"\0")
        out.tail, out.tail_bytes = data, len(tail)
        for room in range(len(frame) + 1):
            buffer = ffi.new("uint8_t[]", b"\xee" * (room + 8))
            got = lib.wage_frame_encode(out, buffer, room)
            assert got == (len(frame) if room == len(frame) else lib.WAGE_E_FRAME_LONG)
            assert bytes(ffi.buffer(buffer))[room : room + 8] == b"\xee" * 8
        assert bytes(ffi.buffer(buffer))[: len(frame)] == frame


SAMPLES = [
    wire.Message(1, 7, 1, (1, 1)),
    wire.Message(3, 0xA55A, 0, (1, 0), bytes(range(64))),
    wire.Message(5, 1, 0xFFFF),
    wire.Message(68, 3, 2, tuple(range(13)), bytes(300)),
    wire.Message(3, 3, 2, (9, 9), b"\1" * 260),
]


@pytest.mark.parametrize("m", SAMPLES, ids=range(len(SAMPLES)))
def test_no_truncation_is_another_message(m):
    frame = wire.encode(m)[:-1]
    for end in range(len(frame)):
        got = decode(frame[:end])
        assert isinstance(got, str), f"{end} of {len(frame)} bytes are {got}"
    for start in range(1, len(frame)):
        got = decode(frame[start:])
        assert isinstance(got, str), f"all from byte {start} are {got}"


@pytest.mark.parametrize("m", SAMPLES, ids=range(len(SAMPLES)))
def test_no_changed_byte_is_another_message(m):
    frame = wire.encode(m)[:-1]
    for at in range(len(frame)):
        for change in (1, 2, 4, 8, 16, 32, 64, 128, 255, frame[at]):
            bad = frame[:at] + bytes([frame[at] ^ change]) + frame[at + 1 :]
            reader = wire.Reader()
            assert reader.feed(bad + b"\0") == [], (at, change)
            assert reader.errors, (at, change)


def test_every_error_of_the_decoder():
    short, body = cobs.encode(bytes(9)), struct.pack("<BBHHI", 3, 2, 1, 1, 0)
    wrong = {
        "WAGE_E_COBS": b"\x05\x01", "WAGE_E_FRAME_SHORT": short,
        "WAGE_E_FRAME_CRC": cobs.encode(bytes(9) + b"\1"),
        "WAGE_E_PAYLOAD": cobs.encode(body + struct.pack("<I", zlib.crc32(body))),
    }  # fmt: skip
    assert {name: ERROR_NAMES[decode_frame(raw)] for name, raw in wrong.items()} == {
        name: name for name in wrong
    }
    assert ERROR_NAMES[decode_frame(b"\3\0\1")] == "WAGE_E_COBS"
    assert ERROR_NAMES[decode_frame(b"")] == "WAGE_E_FRAME_SHORT"
    assert decode(wire.encode(SAMPLES[1])[:-1], room=8) == "WAGE_E_FRAME_LONG"


def test_reader_finds_the_next_frame_after_noise():
    rng = random.Random(1)
    for _ in range(300):
        m = rng.choice(SAMPLES)
        noise = rng.randbytes(rng.randrange(60))
        cut = wire.encode(rng.choice(SAMPLES))[: rng.randrange(40)]
        reader = wire.Reader(400)
        stream = noise + cut + b"\0" + wire.encode(m) + b"\0\0" + b"\1" * 900 + wire.encode(m)
        found = [got for at in range(len(stream)) for got in reader.feed(stream[at : at + 1])]
        assert m in found
        assert set(reader.errors) <= {
            "WAGE_E_COBS", "WAGE_E_FRAME_SHORT", "WAGE_E_FRAME_CRC", "WAGE_E_FRAME_LONG",
        }  # fmt: skip
        assert reader.feed(b"\0" + wire.encode(m)) == [m]


def test_reader_takes_a_frame_that_just_fits():
    frame = wire.encode(SAMPLES[1])
    room = len(frame) - 1
    for size, expected in ((room, [SAMPLES[1]]), (room + 1, [SAMPLES[1]]), (room - 1, [])):
        reader = wire.Reader(size)
        assert reader.feed(frame) == expected
        assert reader.errors == ([] if expected else ["WAGE_E_FRAME_LONG"])
        assert reader.feed(wire.encode(SAMPLES[2])) == [SAMPLES[2]]  # and goes on


def test_empty_frames_are_no_frames():
    reader = wire.Reader()
    assert reader.feed(bytes(50)) == [] and reader.errors == []


def test_older_peer_leaves_fields_out():
    """They read as 0, in Python and in the C struct, whatever was there before."""
    older = wire.Message(lib.WAGE_RECORD, 1, 1, (5, 3), b"tail")
    named = decode(wire.encode(older)[:-1]).named()
    assert (named.id, named.label, named.prediction, named.known) == (5, 3, 0, 0)
    frame = ffi.new("uint8_t[]", wire.encode(older)[:-1])
    m = ffi.new("struct wage_message *")
    m.field[0 : lib.WAGE_FIELDS_MAX] = [0xDEADBEEF] * lib.WAGE_FIELDS_MAX
    assert lib.wage_frame_decode(frame, len(frame) - 1, m) == 0
    assert list(m.field) == [5, 3] + [0] * (lib.WAGE_FIELDS_MAX - 2)
    assert bytes(ffi.buffer(m.tail, m.tail_bytes)) == b"tail"


@pytest.mark.parametrize("count", [3, 8, 39, 40, 41, 255])
def test_newer_peer_appends_fields(count):
    """Those we know are there, the tail comes after all of them."""
    body = struct.pack("<BBHH", lib.WAGE_SAMPLE, count, 1, 2)
    body += struct.pack(f"<{count}I", *range(count)) + b"tail"
    got = decode(cobs.encode(body + struct.pack("<I", zlib.crc32(body))))
    assert got.tail == b"tail"
    assert got.fields == tuple(range(min(count, lib.WAGE_FIELDS_MAX)))
    assert (got.named().id, got.named().label) == (0, 1)


def test_crc_is_that_of_zlib():
    rng = random.Random(2)
    for length in (0, 1, 2, 15, 16, 17, 255, 1024):
        data = rng.randbytes(length)
        assert lib.wage_crc(0, data, length) == zlib.crc32(data)
        cut = rng.randrange(length + 1)
        first = lib.wage_crc(0, data[:cut], cut)
        assert lib.wage_crc(first, data[cut:], length - cut) == zlib.crc32(data)
