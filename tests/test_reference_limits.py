"""Models that the oracle refuses: sums could overflow, or tensors are too large (SPEC 2.6)."""

# SPDX-License-Identifier: MIT

import pytest
from blobs import POINT, average_pool, conv2d, dense, make_blob, max_pool
from test_reference_blob import refusal


def test_batch_counts_in_the_positions() -> None:
    last = dense(2, flags=1)
    for batch, name in ((2, "OK"), (3, "LIMIT")):
        wide = [conv2d(1, **POINT), max_pool(1, (16, 16)), last]
        assert refusal(make_blob(wide, (256, 256, 1), header={"batch": batch})) == name
    for batch, name in ((4096, "OK"), (1, "OK")):
        assert refusal(make_blob([conv2d(2, flags=1)], (1, 1, 1), header={"batch": batch})) == name
    pools = [max_pool(1, (1, 1)), max_pool(1, (16, 16)), last]
    assert refusal(make_blob(pools, (256, 257, 1), header={"batch": 2})) == "LIMIT"


def test_sums_of_an_average_pool_are_bounded() -> None:
    for size, factor, name in (((16, 16), 65535, "OK"), ((16, 17), 61681, "LIMIT")):
        pool = average_pool(1, size, factor=factor)
        assert refusal(make_blob([pool, dense(2, flags=1)], (32, 34, 1))) == name
    assert 16 * 16 * 65535 < 1 << 24 <= 16 * 17 * 61681


@pytest.mark.parametrize(
    ("alpha", "shape", "name"),
    [
        (0, (1, 2, 65535), "OK"),
        (0, (2, 2, 32768), "LIMIT"),
        (16, (1, 1, 65019), "OK"),
        (16, (1, 1, 65020), "LIMIT"),
        (17, (1, 1, 3), "LIMIT"),
        (20, (1, 1, 3), "LIMIT"),
    ],
)
def test_squares_of_the_last_layer_are_bounded(alpha: int, shape: tuple, name: str) -> None:
    layer, sse = dense(2, flags=1, alpha_shift=alpha), {"flags": 2}
    assert refusal(make_blob([layer], shape, header=sse)) == name
    assert refusal(make_blob([layer], shape)) == "OK"  # only under SSE
    assert refusal(make_blob([layer, dense(2, flags=1)], shape, header=sse)) == "OK"  # the last


def test_sums_that_could_overflow_are_refused() -> None:
    last = dense(2, flags=1)
    assert refusal(make_blob([last], (1, 1, 65535))) == "OK"
    assert refusal(make_blob([last], (1, 3, 43690))) == "OK"
    assert refusal(make_blob([last], (1, 2, 65535))) == "OK"
    assert refusal(make_blob([last], (1, 131071 // 61 + 1, 61))) == "LIMIT"
    point = {"kernel": (1, 1), "pad": (0, 0, 0, 0)}
    wide = [conv2d(1, **point), conv2d(1, kernel=(255, 255), pad=(0, 0, 0, 0)), last]
    assert refusal(make_blob(wide, (362, 363, 1))) == "LIMIT"  # 131,406 positions
    assert refusal(make_blob(wide, (362, 362, 1))) == "OK"  # 131,044 positions
    fan_out = [conv2d(15000, kernel=(3, 3), pad=(0, 0, 0, 0)), last]
    assert refusal(make_blob(fan_out, (3, 3, 1))) == "LIMIT"
    fan_out[0]["out"] = 131071 // 9
    assert refusal(make_blob(fan_out, (3, 3, 1))) == "OK"


def test_tensors_and_arenas_that_are_too_large_are_refused() -> None:
    last = dense(2, flags=1)
    small = conv2d(1, kernel=(1, 1), pad=(0, 0, 0, 0), stride=(16, 16))
    assert refusal(make_blob([small, last], (1024, 1024, 1))) == "OK"
    assert refusal(make_blob([small, last], (1025, 1024, 1))) == "LIMIT"
    many = conv2d(64, kernel=(1, 1), pad=(0, 0, 0, 0))
    fewer = conv2d(1, kernel=(1, 1), pad=(0, 0, 0, 0), stride=(2, 2))
    assert refusal(make_blob([many, fewer, last], (128, 128, 1))) == "OK"
    assert refusal(make_blob([many, fewer, last], (128, 129, 1))) == "LIMIT"
    long = conv2d(1, kernel=(9, 1), pad=(8, 0, 8, 0), stride=(1, 1), pool=2)
    assert refusal(make_blob([long, last], (65527, 1, 1))) == "OK"  # 65,535 rows
    assert refusal(make_blob([long, last], (65528, 1, 1))) == "LIMIT"
    for capacity, name in ((7000, "OK"), (9000, "LIMIT")):  # of 131,071 bytes
        header = {"replay_capacity": capacity}
        assert refusal(make_blob([last], (1, 2, 65535), header=header)) == name
