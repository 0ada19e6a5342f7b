"""What of the runtime a model needs (runtime/layer.h, WAGE_LAYERS)."""

# SPDX-License-Identifier: MIT

ALL = (1 << 17) - 1
HEADER_BYTES, RECORD_BYTES, LAYERS_MAX = 64, 48, 32
PAPER, SSE, MOMENTUM, BATCH, BIAS, FROZEN, ROUND_ROW = (1 << bit for bit in range(7, 14))
INPUTS, MEANS, CLASSES = (1 << bit for bit in range(14, 17))


def layers_of(blob: bytes) -> int:
    """Bits of WAGE_LAYERS for a blob; all of them when it is none (the board tells why)."""
    if len(blob) < HEADER_BYTES or blob[:4] != b"WAGE" or not 0 < blob[16] <= LAYERS_MAX:
        return ALL
    flags = blob[31]
    bits = PAPER * (flags & 1) | SSE * (flags >> 1 & 1)
    bits |= INPUTS * (flags >> 3 & 1) | MEANS * (flags >> 4 & 1) | CLASSES * (flags >> 5 & 1)
    bits |= MOMENTUM * (blob[62] > 0) | BATCH * (blob[60:62] != b"\1\0")
    for k in range(blob[16]):
        record = blob[HEADER_BYTES + RECORD_BYTES * k :][:RECORD_BYTES]
        if len(record) < RECORD_BYTES or not 0 < record[0] < 7:
            return ALL
        used, flags, stored = record[1], record[2], record[24]
        bits |= 1 << record[0]
        if not flags & 1 or flags & 4:
            bits |= FROZEN | BIAS * (flags >> 2 & 1)
            continue
        halves_up = (used, stored) == (8, 16) and not bits & PAPER
        bits |= BIAS * (flags >> 1 & 1) | ROUND_ROW * (used != stored and not halves_up)
    return bits
