"""Whatever dies, fails or loses an answer, and wherever: nothing is lost, nothing is doubled, everything ends."""

from pathlib import Path

import pytest

from faults.inprocess.points import POINTS
from faults.inprocess.stories import OF_SEVERAL_PROCESSES, STORIES
from faults.inprocess.trial import tried
from faults.seam_table import BY_NAME, SEAMS
from faults.seams import At, Injection, Kind, Seam, places
from tests.support.stores import STORES

TRIED = [
    pytest.param(store, point, id=f"{store}-{point.seam}-{point.kind}")
    for store in STORES
    for point in POINTS
    if store == "postgresql" or point.kind is Kind.CRASH
]
"""Errors and lost answers are the same code on either store; one process that dies as a whole is not."""

TOLD = [
    pytest.param(store, story, id=f"{store}-{story}")
    for store in STORES
    for story in STORIES
    if store == "postgresql" or story not in OF_SEVERAL_PROCESSES
]

pytestmark = [pytest.mark.usefixtures("quiet"), pytest.mark.timeout(90)]


def test_there_are_thirty_points_and_each_has_a_name_of_its_own() -> None:
    assert len(SEAMS) >= 30
    assert len(BY_NAME) == len(SEAMS)
    assert len(POINTS) == 3 * len(SEAMS)


@pytest.mark.parametrize("seam", SEAMS, ids=lambda seam: seam.name)
def test_a_seam_names_what_exists(seam: Seam) -> None:
    """That the use case of a commit exists, only its story can show (`test_every_seam_is_reached`)."""
    assert places(seam) or seam.use_case is not None


def test_a_seam_that_names_nothing_is_told() -> None:
    gone = Seam("x", "api", "chain", "scheduler_application.run.start:StartRun.gone", At.BEFORE)
    with pytest.raises(LookupError):
        places(gone)


@pytest.mark.parametrize(("store_url", "story"), TOLD, indirect=["store_url"])
async def test_every_seam_is_reached(story: str, store_url: str, tmp_path: Path) -> None:
    """By the story that it names, on either store; and the story itself comes to a good end."""
    verdict = await tried(story, store_url, tmp_path)
    assert verdict.wrong == []
    assert [seam.name for seam in SEAMS if seam.story == story and not verdict.reached.get(seam.name)] == []


@pytest.mark.parametrize(("store_url", "point"), TRIED, indirect=["store_url"])
async def test_nothing_is_lost_or_doubled(point: Injection, store_url: str, tmp_path: Path) -> None:
    verdict = await tried(BY_NAME[point.seam].story, store_url, tmp_path, [point])
    assert verdict.done == [point], "the point was not reached"
    assert verdict.wrong == []
    assert verdict.deaths or point.kind is not Kind.CRASH or point.seam.startswith("leave/")
