"""The page 'Time' says what is so: each of its examples is deployed, looked at when it says, and compared."""

import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from scheduler_application.schedule.freeze import FreezeCommand
from scheduler_domain.schedule.policies import GRACE
from tests.support.command_line import CommandLine
from tests.support.world import ACTOR, World

PAGE = (Path(__file__).parents[2] / "docs/concepts/time.md").read_text()
TASKS = "\ntasks:\n  work: {shell: 'true'}\n"

EXAMPLES = re.findall(r"```yaml\n(.*?)```\n\n```ledger\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = re.findall(r"```console\n\$ orrery (.*?)\n(.*?)```", PAGE, re.DOTALL)


class Story(NamedTuple):
    deployed: datetime
    frozen: list[tuple[datetime, datetime, str]]
    looks: list[datetime]
    rows: list[list[str]]


def read(text: str) -> Story:
    header, _, table = text.partition("\n\n")
    said: dict[str, Any] = {"frozen": [], "looked": []}
    for line in header.splitlines():
        word, *values = line.replace("looked at", "looked").split()
        if word == "frozen":
            said["frozen"].append((instant(values[0]), instant(values[1]), values[2]))
        else:
            said[word] = [instant(value) for value in values]
    return Story(said["deployed"][0], said["frozen"], said["looked"], [line.split() for line in table.splitlines()])


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


async def turn_to(world: World, moment: datetime) -> None:
    world.clock.advance((moment - world.clock.now()).total_seconds())


def test_the_page_has_an_example_of_each_policy() -> None:
    shown = " ".join(document for document, _ in EXAMPLES)
    for policy in (
        "every: 1h}",
        "misfire: skip",
        "misfire: fire_all",
        "max_lateness",
        "jitter",
        "shadow",
        "labels",
        "skip: holidays",
        "shift: next",
    ):
        assert policy in shown
    for policy in ("overlap: allow", "overlap: skip", "overlap: queue", "overlap: cancel_running", "gap: skip"):
        assert policy in shown
    assert any("--repeat twice" in command for command, _ in COMMANDS)


@pytest.mark.parametrize(("document", "text"), EXAMPLES)
async def test_an_example_comes_out_as_the_page_says(world: World, document: str, text: str) -> None:
    story = read(text)
    await turn_to(world, story.deployed)
    await world.deploy(f"workflow: example\n{document}{TASKS}")
    for start, end, label in story.frozen:
        await world.freeze_schedules.execute(FreezeCommand("as the page says", end, start, label), ACTOR)
    for moment in story.looks:
        await turn_to(world, moment)
        await world.fire_due_schedules.execute(await world.lead())
    rows = await world.rows(
        "select l.due_at, l.outcome, l.rule, r.state from ledger l left join runs r on r.id = l.run_id order by 1"
    )
    found = [
        [f"{row['due_at']:%Y-%m-%dT%H:%M:%SZ}", row["outcome"], row["rule"], *([row["state"]] if row["state"] else [])]
        for row in rows
    ]
    assert found == story.rows


@pytest.mark.parametrize(("command", "output"), COMMANDS)
def test_a_command_prints_what_the_page_says(command: str, output: str) -> None:
    argv = [quoted or plain for quoted, plain in re.findall(r'"([^"]*)"|(\S+)', command)]
    printed = CommandLine()(*argv).out
    assert [line.rstrip() for line in printed.splitlines()] == [line.rstrip() for line in output.splitlines()]


def test_the_grace_that_the_page_names_is_the_one_that_holds() -> None:
    assert f"at most {GRACE // timedelta(seconds=1)} s late" in PAGE
