"""Wrong input, by command and over HTTP: each fault has its own clear answer, and nothing changes."""

import json
import re
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.support.stack import Stack

GOOD = """
workflow: good
triggers: [manual: {}]
inputs: {day: {type: string}}
tasks: {one: {shell: "true"}}
"""

WRONG_DEFINITIONS = {
    "wrong YAML": ("workflow: bad\ntasks: {one: {shell: 'true'}\n", None, (3, 1), ""),
    "wrong cron": (
        "workflow: bad\ntriggers:\n  - schedule: '61 * * * *'\ntasks: {one: {shell: 'true'}}\n",
        None,
        (3, 15),
        "61",
    ),
    "unknown time zone": (
        "workflow: bad\ntasks: {one: {shell: 'true'}}\ntriggers:\n  - schedule: '1 * * * *'\n    timezone: Berlyn\n",
        "unknown_timezone",
        (5, 15),
        "Berlyn",
    ),
    "unknown executor": ("workflow: bad\ntasks:\n  one:\n    shel: 'true'\n", None, (4, 5), "shel"),
    "cycle": (
        "workflow: bad\ntasks:\n  a: {needs: [b], shell: 'true'}\n  b: {needs: [a], shell: 'true'}\n",
        None,
        None,
        "a → b → a",
    ),
    "two faults at once": (
        "workflow: bad\ntriggers:\n  - schedule: '61 * * * *'\ntasks:\n  one: {shel: 'true'}\n",
        None,
        None,
        "61",
    ),
}


async def _counts(stack: Stack) -> dict[str, int]:
    tables = await stack.rows("select name from sqlite_master where type = 'table' and name not like 'sqlite_%'")
    counted = {}
    for table in tables:
        (row,) = await stack.rows(f'select count(*) as rows from "{table["name"]}"')
        counted[table["name"]] = row["rows"]
    return counted


def _problem(answer: httpx2.Response, status: int) -> dict[str, object]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, object] = answer.json()
    assert problem["status"] == status
    assert problem["detail"]
    assert problem["request_id"]
    return problem


def _lines(stderr: str) -> list[str]:
    assert "Traceback" not in stderr
    return [line for line in stderr.splitlines() if line]


async def test_everything_wrong_is_said_clearly_and_changes_nothing(embedded: Stack, tmp_path: Path) -> None:
    await embedded.start("up").ready()
    await embedded.deploy(GOOD)
    before = await _counts(embedded)
    for name, (text, code, place, told) in WRONG_DEFINITIONS.items():
        await _refuse_over_http(embedded, name, text, code, place, told)
        _refuse_by_command(embedded, tmp_path, name, text, place, told)
    await _refuse_a_definition_of_two_megabytes(embedded, tmp_path)
    await _refuse_runs(embedded)
    assert await _counts(embedded) == before


async def _refuse_over_http(
    stack: Stack, name: str, text: str, code: str | None, place: tuple[int, int] | None, told: str
) -> None:
    async with stack.client() as client:
        answer = await client.post("/workflows?deploy=true", content=text, headers={"Content-Type": "application/yaml"})
    problem = _problem(answer, 422)
    errors = problem["errors"]
    assert isinstance(errors, list)
    assert len(errors) == (2 if name == "two faults at once" else 1), (name, errors)
    assert told in answer.text, (name, answer.text)
    assert code is None or errors[0]["code"] == code, (name, errors)
    assert place is None or (errors[0]["line"], errors[0]["column"]) == place, (name, errors)


def _refuse_by_command(
    stack: Stack, folder: Path, name: str, text: str, place: tuple[int, int] | None, told: str
) -> None:
    file = folder / "bad.yaml"
    file.write_text(text)
    for command in ("validate", "deploy"):
        refused = stack.cli(command, str(file))
        assert refused.returncode == 1, (name, refused)
        lines = _lines(refused.stderr)
        faults = [line for line in lines if line.startswith(f"{file}:")]
        assert len(faults) == (2 if name == "two faults at once" else 1), (name, command, lines)
        assert all(re.match(rf"{re.escape(str(file))}:\d+:\d+: \S", line) for line in faults), (name, faults)
        assert place is None or faults[0].startswith(f"{file}:{place[0]}:{place[1]}: "), (name, faults)
        assert told in refused.stderr, (name, lines)


async def _refuse_a_definition_of_two_megabytes(stack: Stack, folder: Path) -> None:
    text = GOOD + "# " + "x" * 2 * 1024 * 1024
    async with stack.client() as client:
        answer = await client.post("/workflows?deploy=true", content=text, headers={"Content-Type": "application/yaml"})
    assert _problem(answer, 413)["code"] == "body_too_large"
    file = folder / "big.yaml"
    file.write_text(text)
    for command in ("validate", "deploy"):
        refused = stack.cli(command, str(file))
        assert refused.returncode == 1
        (line,) = _lines(refused.stderr)
        assert line == f"orrery: {file} is larger than 1048576 bytes"


async def _refuse_runs(stack: Stack) -> None:
    async with stack.client() as client:
        unknown = _problem(await client.post("/workflows/nobody/run", json={}), 404)
        missing = _problem(await client.post("/workflows/good/run", json={}), 422)
    assert unknown["code"] == "not_found"
    assert "nobody" in str(unknown["detail"])
    assert "day" in json.dumps(missing["errors"])

    (line,) = _lines(_failed(stack, "run", "nobody"))
    assert "nobody" in line
    assert any("day" in line for line in _lines(_failed(stack, "run", "good")))
    preview = stack.cli("next", "--schedule", "61 * * * *", "--timezone", "UTC")
    assert preview.returncode != 0
    assert "61" in preview.stderr


def _failed(stack: Stack, *command: str) -> str:
    finished = stack.cli(*command)
    assert finished.returncode == 1, finished
    return finished.stderr


@pytest.mark.parametrize("name", ["ORRERY_DATABSE_URL", "ORRERY_WORKER_SLOTS"])
async def test_a_wrong_setting_starts_nothing(embedded: Stack, name: str) -> None:
    wrong: dict[str, Any] = {name.removeprefix("ORRERY_"): "many"}
    refused = embedded.cli("up", **wrong)
    assert refused.returncode == 2
    (line,) = _lines(refused.stderr)
    assert name in line
    assert not (embedded.folder / "data").exists()
