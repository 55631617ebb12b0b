"""A wall clock that a test turns, of one process alone: libfaketime stands between it and the machine's.

The monotonic clock is left alone, as a step of a real machine's clock leaves it. Under it `time.sleep` fails, so this
is for processes that wait in their loop.
"""

import os
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx2
import pytest

from tests.support import services
from tests.support.eventually import eventually

_LIBRARIES = ("/usr/lib/*/faketime/libfaketime.so.1", "/usr/lib/faketime/libfaketime.so.1")

TOLERANCE_SECONDS = 60.0


class FakedClock:
    """Starts unmoved. Give ``environment`` to the one process that is to live by it."""

    def __init__(self, folder: Path, name: str = "clock") -> None:
        library = faketime_library()
        if library is None:
            reason = f"{services.MISSING}libfaketime. Install Debian's libfaketime"
            pytest.fail(reason, pytrace=False) if services.are_required() else pytest.skip(reason)
        self._file = folder / name
        self.shift(0)
        self.environment = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }

    async def step(self, url: str, seconds: float) -> None:
        """Sets the clock so far from the machine's; returns when the answers of the process at ``url`` are dated so."""
        self.shift(seconds)

        async def is_there() -> bool:
            async with httpx2.AsyncClient(base_url=url, timeout=5) as client:
                dated = parsedate_to_datetime((await client.get("/livez")).headers["date"])
            ahead = dated.timestamp() - self._file.stat().st_mtime
            return abs(ahead - seconds) < TOLERANCE_SECONDS

        await eventually(is_there, within=10)

    def shift(self, seconds: float) -> None:
        """Sets the clock so far from the machine's; who reads it next sees it."""
        # Replaced as a whole: a file that is being written reads as no shift at all.
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+.0f}")
        new.replace(self._file)


def faketime_library() -> Path | None:
    """Where Debian's package puts it, or where ``FAKETIME_LIBRARY`` says."""
    named = os.environ.get("FAKETIME_LIBRARY")
    if named:
        return Path(named)
    return next((path for pattern in _LIBRARIES for path in Path("/").glob(pattern.removeprefix("/"))), None)
