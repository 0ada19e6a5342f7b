"""Samples in their place, by the 6-bit counter that a PPK2 puts into each of its 32-bit words."""

import numpy as np

from wage_host.power.instrument import Gap

COUNTER = 64
TWICE_MAX = COUNTER // 2  # a jump back by more is taken for the shorter loss
LOOK = COUNTER  # words that tell whether the stream is in step
IN_STEP = LOOK * 3 // 4  # of them follow one another then
LEVEL_S, LEVELS = 1.0, 5  # how often, and how many of, the computer's clock is compared
STEP_S, FLAT_S = 0.02, 0.005  # a loss that the clock shows, and how steady it must be


def counters(words: np.ndarray) -> np.ndarray:
    """The counter in each word, 0 to 63."""
    return (words >> 18 & 63).astype(np.int64)


def in_step(words: np.ndarray) -> bool:
    """Whether these are words, and not the end of one and the beginning of the next."""
    return int(np.sum(np.diff(counters(words)) % COUNTER == 1)) >= IN_STEP


class Counted:
    """A stream of such words.

    A loss is known up to a multiple of 64 words; a longer one shows in the computer's clock only,
    and only if it is 20 ms or more. Words that came twice are told from a loss by being the same.
    """

    def __init__(self, rate_hz: float):
        self.gaps: list[Gap] = []
        self._rate_hz = rate_hz
        self._rest, self._past = b"", np.empty(0, np.uint32)
        self._expected: int | None = None
        self._shifted = False  # since the last word
        self._next = 0  # number of the next word, lost ones counted
        self._levels: list[float] = []
        self._level, self._level_until = np.inf, 0.0

    def feed(self, data: bytes) -> tuple[np.ndarray, np.ndarray]:
        """Words (n) uint32 out of bytes that follow those fed before, and the number of each."""
        data, at = self._rest + data, 0
        kept, numbers = [], []
        while len(data) - at >= 4:
            words = np.frombuffer(data, "<u4", (len(data) - at) // 4, at)
            run = self._run(words)
            if run:
                kept.append(words[:run])
                numbers.append(self._next + np.arange(run))
                self._next += run
                self._past = np.concatenate([self._past, words[:run]])[-COUNTER:]
                self._expected = int(counters(words[run - 1 : run])[0] + 1) % COUNTER
                at += 4 * run
            elif len(words) <= LOOK:
                break  # a little more tells what happened
            elif in_step(words[:LOOK]):
                at += 4 * self._jump(words)
            else:
                at += self._find_step(data[at : at + 4 * LOOK + 4])
        self._rest = data[at:]
        if not kept:
            return np.empty(0, np.uint32), np.empty(0, np.int64)
        return np.concatenate(kept), np.concatenate(numbers)

    def compare(self, since_start_s: float) -> None:
        """Looks for a loss that the counter cannot show, by the time when a feed returned."""
        self._level = min(self._level, since_start_s - self._next / self._rate_hz)
        if since_start_s < self._level_until:
            return
        self._levels = [*self._levels, self._level][-LEVELS:]
        self._level, self._level_until = np.inf, since_start_s + LEVEL_S
        if len(self._levels) < LEVELS:
            return
        before, _, *after = self._levels  # the loss lay in the second of these, or before it
        if max(after) - min(after) > FLAT_S:
            return
        if min(after) - before > STEP_S:  # the new level is there to stay
            missing = round((min(after) - before) * self._rate_hz / COUNTER) * COUNTER
            self._tell(missing, "lost", f"about {missing} samples, by the computer's clock, in "
                                        f"the {LEVELS * LEVEL_S:g} s before")  # fmt: skip
            self._next += missing
            self._levels = []

    def _run(self, words: np.ndarray) -> int:
        """How many words from the first on follow one another, and what came before."""
        found = counters(words)
        if self._expected is not None and (self._shifted or found[0] != self._expected):
            return 0
        breaks = np.flatnonzero(np.diff(found) % COUNTER != 1)
        return int(breaks[0]) + 1 if len(breaks) else len(words)

    def _jump(self, words: np.ndarray) -> int:
        """A counter that does not follow; returns how many words to drop."""
        first = int(counters(words[:1])[0])
        lost = (first - self._expected) % COUNTER or COUNTER
        back = COUNTER - lost
        if 0 < back <= TWICE_MAX and np.array_equal(words[:back], self._past[-back:]):
            self._tell(back, "repeated", f"{back} samples came twice")
            return back
        self._tell(lost, "lost", f"{lost} samples, or {COUNTER} more, or …")
        self._next += lost
        self._expected, self._shifted = first, False
        return 0

    def _find_step(self, data: bytes) -> int:
        """The stream is out of step by some bytes; returns how many to drop."""
        self._shifted = True
        for shift in (1, 2, 3):
            if in_step(np.frombuffer(data, "<u4", LOOK, shift)):
                return shift
        return 4 * LOOK  # no sample in sight

    def _tell(self, count: int, kind: str, text: str) -> None:
        lost_s = count / self._rate_hz if kind == "lost" else 0.0
        self.gaps.append(Gap(self._next / self._rate_hz, lost_s, count, kind, text))
