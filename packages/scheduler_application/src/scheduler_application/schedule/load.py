"""Planned starts, minute by minute, against worker slots."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

MINUTE = 60.0
HERD = 5
"""Fewer starts in one minute are no crowd, where there are slots enough."""
CROWD_SHARE = 0.05
"""A minute that has this much of its hour's starts stands out; spread evenly, it would have a sixtieth."""
TOP_MINUTES = 10


@dataclass(frozen=True, slots=True)
class Load:
    """``starts`` counts runs by minute; ``busy`` is how many slots they keep busy, on average over the minute."""

    starts: list[int]
    busy: list[float]

    @property
    def peak(self) -> int:
        """The most starts in one minute."""
        return max(self.starts, default=0)


def load_of(starts: Iterable[tuple[float, float]], minutes: int) -> Load:
    """The load of (start, duration) pairs, in seconds; starts count from the first of ``minutes`` minutes on.

    A run that goes on after the last minute counts up to there.
    """
    counts = [0] * minutes
    parts = [0.0] * (minutes + 1)
    whole = [0.0] * (minutes + 1)
    for start, duration in starts:
        end = min(start + duration, minutes * MINUTE)
        first, last = int(start // MINUTE), int(end // MINUTE)
        counts[first] += 1
        if first == last:
            parts[first] += end - start
            continue
        parts[first] += MINUTE * (first + 1) - start
        parts[last] += end - MINUTE * last
        whole[first + 1] += MINUTE
        whole[last] -= MINUTE
    seconds = map(sum, zip(parts, accumulate(whole), strict=True))
    return Load(counts, [round(busy / MINUTE, 3) for busy in seconds][:minutes])


def crowded_minutes(load: Load, slots: int, first_minute_of_hour: int) -> list[int]:
    """The minutes with more starts or busy slots than there are ``slots``, and the few that stand out of their hour;
    the fullest first.

    ``first_minute_of_hour`` is the place of the first minute in its hour. Without slots, which nobody serves at
    present, only the second can be told.
    """
    over = {
        minute
        for minute, (starts, busy) in enumerate(zip(load.starts, load.busy, strict=True))
        if slots and (starts > slots or busy > slots)
    }
    crowded = over | set(_standing_out(load.starts, first_minute_of_hour))
    return sorted(crowded, key=lambda minute: (-load.starts[minute], minute))


def _standing_out(starts: Sequence[int], first_minute_of_hour: int) -> list[int]:
    hours: Counter[int] = Counter()
    for minute, count in enumerate(starts):
        hours[(minute + first_minute_of_hour) // 60] += count
    herds = [minute for minute, count in enumerate(starts) if count >= HERD]
    fullest = sorted(herds, key=lambda minute: (-starts[minute], minute))[:TOP_MINUTES]
    return [
        minute for minute in fullest if starts[minute] >= CROWD_SHARE * hours[(minute + first_minute_of_hour) // 60]
    ]
