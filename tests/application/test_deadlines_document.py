"""The examples in the page about deadlines do what the page says."""

import re
import shlex
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from orrery.cli.main import build_app
from scheduler_application.alert.telling import AlertKind
from scheduler_application.heartbeat.manage import CreateHeartbeatCommand
from scheduler_application.paging import PageRequest
from scheduler_application.ports.reading import AlertFilter
from scheduler_domain.schedule.deadlines import HeartbeatState
from tests.support.world import ACTOR, World

PAGE = (Path(__file__).parents[2] / "docs/concepts/deadlines.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


async def test_the_first_workflow_raises_the_alert_that_the_page_shows(world: World) -> None:
    await world.deploy(blocks("yaml")[0])
    before_six = datetime(2026, 11, 3, 4, 59, 59, tzinfo=UTC)
    world.clock.advance((before_six - world.clock.now()).total_seconds())
    assert (await world.judge_deadlines.execute(await world.lead())).raised == []
    world.clock.advance(1)
    await world.judge_deadlines.execute(await world.lead())
    (alert,) = (await world.reader.alerts(ACTOR.project, AlertFilter(), PageRequest())).items
    assert [alert.message] == [text.strip() for text in blocks("text")]
    assert f"`{alert.key}`" in PAGE


async def test_every_workflow_of_the_page_deploys_with_its_expectations(world: World) -> None:
    counts = []
    for text in blocks("yaml"):
        deployed = await world.deploy(text)
        counts.append(len(await world.reader.expectations(ACTOR.project, deployed.workflow_id)))
    assert counts == [1, 2]


async def test_every_heartbeat_of_the_page_is_accepted(world: World) -> None:
    made = [
        await world.create_heartbeat.execute(CreateHeartbeatCommand(msgspec.json.decode(text)), ACTOR)
        for text in blocks("json")
    ]
    assert [each.heartbeat.name for each in made] == ["invoices"]


COMMAND_LINES = [line for text in blocks("sh") for line in text.splitlines() if line.startswith("orrery ")]


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_every_command_of_the_page_is_one(line: str) -> None:
    command, bound, _ = build_app(plain=True).parse_args(shlex.split(line)[1:])
    assert command.__name__ == shlex.split(line)[2]
    assert bound.arguments["name"] == shlex.split(line)[3]


def test_the_page_has_every_state_and_every_kind() -> None:
    assert COMMAND_LINES
    assert [name for name in (*HeartbeatState, *AlertKind) if f"| `{name}` |" not in PAGE] == []
