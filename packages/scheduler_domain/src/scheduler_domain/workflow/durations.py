"""Durations as people write them: ``90s``, ``15m``, ``2h``, ``1d12h``."""

import re

_DURATION = re.compile(r"(?:([0-9]{1,9})d)?(?:([0-9]{1,9})h)?(?:([0-9]{1,9})m)?(?:([0-9]{1,9})s)?")
_SECONDS = (86_400, 3_600, 60, 1)


def parse_duration(text: str) -> int | None:
    """Seconds, or ``None`` when ``text`` is not days, hours, minutes and seconds in this order, each at most once."""
    found = _DURATION.fullmatch(text)
    if not text or found is None:
        return None
    return sum(int(count) * seconds for count, seconds in zip(found.groups(), _SECONDS, strict=True) if count)


def show_duration(seconds: float) -> str:
    """The shortest such text for whole ``seconds``."""
    left, parts = int(seconds), []
    for unit, length in zip("dhms", _SECONDS, strict=True):
        count, left = divmod(left, length)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
