"""The share of a window by which one trigger starts later than it is due, so that many do not start in one second."""

import hashlib
from datetime import timedelta

_MILLISECOND = timedelta(milliseconds=1)


def jitter_of(seed: str, window: timedelta) -> timedelta:
    """Whole milliseconds in [0, ``window``), evenly spread over seeds and always the same for one of them.

    ``seed`` is the trigger's identity. In a window of at most one millisecond there is nothing to spread:
    the jitter is zero. Raises `ValueError` for a negative window.
    """
    if window < timedelta():
        raise ValueError(f"a window of jitter is not negative: {window}")
    # Rounded up: a window of 1.5 ms holds the offsets 0 and 1 ms.
    choices = -(-window // _MILLISECOND)
    if choices <= 1:
        return timedelta()
    # Not hash(): it differs from process to process. The prefix keeps jitter apart from H, which hashes the same seed.
    digest = hashlib.sha256(f"jitter\0{seed}".encode("utf-8", "surrogatepass")).digest()
    # 128 bits over at most 10^17 choices: the remainder favours none that anybody could measure.
    return _MILLISECOND * (int.from_bytes(digest[:16], "big") % choices)
