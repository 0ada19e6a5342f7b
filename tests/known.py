"""Cases for the harness of parity whose answers are known, for a runtime that may be wrong.

The golden vectors know the weights after a step; of networks of all kinds the oracle knows
weights and state.
"""

# SPDX-License-Identifier: MIT

import functools
import zlib
from itertools import product

import native
import nets
import numpy as np
import reference as ref
from golden import CASES, RATES, Golden

Known = tuple[list[bytes], list[str]]  # cases for the harness, beginnings of its answers


@functools.cache
def known() -> Known:
    """All cases and what is known of their answers."""
    golden, network = golden_cases(), network_cases()
    return golden[0] + network[0], golden[1] + network[1]


def differences(found: list[str], lines: list[str]) -> int:
    """How many answers are not the known ones."""
    pairs = zip(found, lines, strict=False)
    return len(lines) - sum(one.startswith(other) for one, other in pairs)


def golden_cases() -> Known:
    """A step of every vector; the weights after it are the vector's, not the oracle's."""
    cases, lines = [], []
    for path, lr_shift in product(CASES, RATES):
        golden = Golden(path)
        cases += [b"B" + golden.blob(lr_shift), native.case_of(b"T", golden.samples())]
        after = [golden.stored(i, lr_shift) for i in range(len(golden.layers))]
        before = [t["w_store"] for t in golden.layers]
        for weights in (before, after):
            stored = b"".join(w.astype(np.int8).tobytes() for w in weights)
            lines.append(f"{zlib.crc32(stored):08x}")
    return cases, lines


def networks() -> list[bytes]:
    """Networks of all kinds, widths and settings, and skips that join far apart."""
    found = []
    for number, (name, policy, bits) in enumerate(product(nets.NETS, nets.POLICIES, (2, 5, 8))):
        settings = {"momentum": number % 3, "lr_factor": 1 + 2 * (number % 2), "batch": 3,
                    "replay_capacity": 4, "replays": 3}  # fmt: skip
        found.append(nets.net(name, bits, policy, seed=number, **settings))
    for policy, scales in product(nets.POLICIES, ((1, 1, 7), (20, 1, 0))):
        found.append(nets.joined(scales, policy, seed=3))
    for threshold in (20, 60, 80, 90):
        found.append(nets.net("lines", 4, "continual", threshold=threshold))
    return found


def network_cases() -> Known:
    """Steps and samples of the networks; weights and state are the oracle's."""
    cases, lines = [], []
    for blob in networks():
        model = ref.open_model(blob)
        ref.start(model, 1)
        cases.append(b"B" + blob)
        lines.append(nets.crcs(model))
        samples = nets.samples_of(blob, 7, 12)
        for some in nets.batches(samples[:8], model.batch):
            ref.train(model, some)
            cases.append(native.case_of(b"T", some))
            lines.append(nets.crcs(model))
        for one in samples[8:]:
            ref.learn(model, model.last_id + 1, *one)
            cases.append(native.case_of(b"L", [one]))
            lines.append(nets.crcs(model))
    return cases, lines
