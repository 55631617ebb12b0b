"""Whatever dies, fails or loses an answer, and wherever: nothing is lost, nothing is doubled, everything ends."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from faults.inprocess.trial import tried
from faults.seam_table import SEAMS
from faults.seams import Injection, Kind, Seam

POINTS = [pytest.param(seam, kind, id=f"{seam.name}-{kind}") for seam in SEAMS for kind in Kind]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """What services log is not looked at here, and drawing tracebacks for a terminal takes longer than a test."""

    def drop(*_: Any) -> Any:
        raise structlog.DropEvent

    structlog.configure(processors=[drop])
    yield
    structlog.reset_defaults()


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("seam", "kind"), POINTS)
async def test_nothing_is_lost_or_doubled(seam: Seam, kind: Kind, store_url: str, tmp_path: Path) -> None:
    verdict = await tried(seam.story, store_url, tmp_path, [Injection(seam.name, kind)])
    assert verdict.done == [Injection(seam.name, kind)], "the point was not reached"
    assert verdict.wrong == []
