"""One clock laid over another, by times at which something of the one was heard of in the other.

What is heard is late, by a delay that nobody knows. Where delays have a sharp least value, as
those of links mostly do, the line along the least ones is taken ('edge'); where they scatter to
both sides alike, the middle ('middle'). Otherwise, or where there are few, the line along the
least ones again, with three times the distance to the middle as its uncertainty. A delay that is
always there shows in neither.
"""

import dataclasses

import numpy as np

WRAP = 1 << 32  # of the board's clock, microseconds
BINS = 256  # of which the least delays are looked at
SLICES = 8  # in each of which the line must lie along the least delays
SURE = 4.0  # times the farthest of these is the uncertainty of an edge
SIGMAS = 4.5  # of the mean, is that of a middle
TINY, SMALL, MID, LARGE = 0.005, 0.05, 0.5, 0.95  # shares of delays that tell their shape:
SHARP, ROUND = 0.17, 0.2  # from TINY to SMALL, of the way from TINY to MID: at most, at least
EVEN = 1.25  # from MID to LARGE over SMALL to MID, or the other way round: at most
WIDE = 3.0  # times that way, is the uncertainty where neither is clear
LEAST = 20  # times heard, fewer are no line
ENOUGH = 400  # fewer do not tell what shape the delays have


@dataclasses.dataclass(frozen=True)
class Fit:
    """y = offset + slope · (x - middle), within uncertainty_s where it was made."""

    middle: float
    offset: float
    slope: float
    uncertainty_s: float
    how: str

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The other clock's time."""
        return self.offset + self.slope * (np.asarray(x, float) - self.middle)

    def back(self, y: np.ndarray) -> np.ndarray:
        """This clock's time of one of the other's."""
        return self.middle + (np.asarray(y, float) - self.offset) / self.slope


def fit(x: np.ndarray, heard: np.ndarray) -> Fit | None:
    """Clock `heard` over clock x, both rising; None where there are too few times."""
    if len(x) < LEAST or x[-1] <= x[0]:
        return None
    middle = float(x.mean())
    x = x - middle
    slope, offset = _lower_line(x, heard)
    over = heard - (offset + slope * x)
    mid = float(np.median(over))
    farthest = max(part.min() for part in np.array_split(over, min(SLICES, len(x))))
    edge = SURE * farthest
    enough = len(x) >= ENOUGH
    if enough and _shape(over)[0] <= SHARP:
        return Fit(middle, offset, slope, float(edge), "edge")
    line = np.polyfit(x, heard, 1)
    flat = heard - np.polyval(line, x)
    shape, sides = _shape(flat)
    if enough and shape >= ROUND and 1 / EVEN <= sides <= EVEN:
        scatter = np.std(flat, ddof=2)
        far = np.abs(x).max()
        error = scatter * np.sqrt(1 / len(x) + far**2 / np.sum(x * x))
        return Fit(middle, float(line[1]), float(line[0]), float(SIGMAS * error), "middle")
    return Fit(middle, offset, slope, float(max(edge, WIDE * mid)), "edge")


def _shape(delays: np.ndarray) -> tuple[float, float]:
    """How sharply delays begin, and how far they reach to one side over the other."""
    tiny, small, mid, large = np.quantile(delays, (TINY, SMALL, MID, LARGE))
    if mid <= small:
        return 0.0, np.inf
    return float((small - tiny) / (mid - tiny)), float((large - mid) / (mid - small))


def _lower_line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """(slope, offset) of the highest line below all points."""
    flat = y - np.polyval(np.polyfit(x, y, 1), x)
    bins = np.searchsorted(np.linspace(x[0], x[-1], BINS + 1)[1:-1], x)
    order = np.lexsort((flat, bins))
    least = order[np.unique(bins[order], return_index=True)[1]]
    hull: list[tuple[float, float]] = []
    for px, py in zip(x[least], y[least], strict=True):
        while len(hull) > 1 and _above(hull[-2], hull[-1], (px, py)):
            hull.pop()
        hull.append((px, py))
    after = next((k for k, (px, _) in enumerate(hull) if px > 0), len(hull) - 1)
    (ax, ay), (bx, by) = hull[max(after, 1) - 1], hull[max(after, 1)]
    slope = (by - ay) / (bx - ax)
    return float(slope), float(ay - slope * ax)


def _above(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> bool:
    """Whether b lies on or above the line from a to c."""
    return (b[1] - a[1]) * (c[0] - a[0]) >= (c[1] - a[1]) * (b[0] - a[0])


def unwrap(us: np.ndarray) -> np.ndarray:
    """(n) int64 microseconds of a clock that wraps at 2^32 and moves on by less than half of it."""
    steps = np.diff(us.astype(np.int64))
    return us[0] + np.append(0, np.cumsum(signed(steps)))


def signed(us: np.ndarray) -> np.ndarray:
    """Differences of two such times, as numbers from -2^31 on."""
    return (us.astype(np.int64) + WRAP // 2) % WRAP - WRAP // 2
