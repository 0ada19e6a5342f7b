"""ATmega2560 under simavr: 8 KB of RAM, an int of 16 bits, blobs in program memory."""

# SPDX-License-Identifier: MIT

import avr
import blobs
import native
import nets
import numpy as np
import random_models
from wage_host.core import Core, info

SAMPLES = 4


def fitting() -> list[bytes]:
    """Small networks that have something of everything, until the flash for them is full."""
    own = {"batch": 2, "replay_capacity": 3, "replays": 2}
    found = [
        nets.net("lines", 2 + n, policy, seed=n, momentum=n, **own)
        for n, policy in enumerate(nets.POLICIES)
    ]
    for number in range(1000):
        blob = random_models.random_model(number)
        if sum(map(len, found)) + len(blob) > avr.BLOB_BYTES:
            return found
        if info(blob).arena_bytes <= avr.ARENA_BYTES and len(blob) < avr.BLOB_BYTES // 8:
            found.append(blob)
    raise AssertionError("flash is never full")


def test_small_networks_learn_the_same(tmp_path):
    models, cases, lines = fitting(), [], []
    for number, blob in enumerate(models):
        samples, core = nets.samples_of(blob, number, SAMPLES), Core(blob)
        core.start(1, core.config())
        cases.append(b"B" + bytes([number]))
        lines.append(nets.crcs(core))
        for sample in samples:
            cases.append(native.case_of(b"L", [sample]))
            assert len(list(core.learn([sample]))) == 1
            lines.append(nets.crcs(core))
        some = samples[: blobs.header_fields(blob)["batch"]]
        cases.append(native.case_of(b"T", some))
        core.train(np.stack([x for x, _ in some]), [label for _, label in some])
        lines.append(nets.crcs(core))
    assert set().union(*map(nets.kinds, models)) == set(range(1, 7))
    assert len(models) > 20 and len(set(lines)) > len(lines) // 2
    assert avr.run("parity", models, cases, tmp_path) == lines
