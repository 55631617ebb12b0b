"""A workflow function becomes the document that YAML would give."""

from pathlib import Path
from typing import Any

import pytest

from orrery import at, every, manual, schedule, task, workflow
from orrery.authoring import Workflow
from orrery.errors import InvalidWorkflow
from orrery.loading import load_definitions


@task(retry=3, timeout="10m", queue="big")
def extract(day: str, limit: int = 10) -> dict[str, Any]:
    return {"rows": limit, "day": day}


@task()
def load(rows: Any, tags: list[Any] | None = None) -> int:
    return int(rows["rows"])


@task()
def tidy() -> None:
    return None


def definition_of(made: Workflow[..., Any]) -> dict[str, Any]:
    return made.definition()


def test_arguments_become_needs_and_expressions() -> None:
    @workflow(name="nightly", triggers=[schedule("30 2 * * MON-FRI", timezone="Europe/Berlin")], timeout="2h")
    def nightly(day: str, regions: list[str] = ["eu"]) -> None:  # noqa: B006 - it is the input's default
        """Builds the report."""
        rows = extract(day, limit=5)
        load(rows, tags=[rows["rows"], regions, "fixed"])

    module = extract.function.__module__
    assert definition_of(nightly) == {
        "workflow": "nightly",
        "description": "Builds the report.",
        "triggers": [{"schedule": "30 2 * * MON-FRI", "timezone": "Europe/Berlin"}],
        "timeout": "2h",
        "inputs": {
            "day": {"type": "string"},
            "regions": {"type": "array", "items": {"type": "string"}, "default": ["eu"]},
        },
        "tasks": {
            "extract": {
                "python": {"call": f"{module}:extract", "args": {"day": "${{ inputs.day }}", "limit": 5}},
                "retry": {"attempts": 3},
                "timeout": "10m",
                "queue": "big",
            },
            "load": {
                "python": {
                    "call": f"{module}:load",
                    "args": {
                        "rows": "${{ tasks.extract.output }}",
                        "tags": ["${{ tasks.extract.output.rows }}", "${{ inputs.regions }}", "fixed"],
                    },
                },
                "needs": ["extract"],
            },
        },
    }


def test_deadlines_pass_as_they_are() -> None:
    by_six = {"by": "06:00", "timezone": "Europe/Berlin", "state": "finished"}

    @workflow(name="punctual", expect=[by_six])
    def punctual() -> None:
        tidy()

    assert definition_of(punctual)["expect"] == [by_six]


def test_a_task_that_is_called_twice_gets_two_names() -> None:
    @workflow(name="twice")
    def twice() -> None:
        first = extract("a")
        second = extract("b")
        tidy.after(first, second)()

    tasks = definition_of(twice)["tasks"]
    assert list(tasks) == ["extract", "extract_2", "tidy"]
    assert tasks["tidy"]["needs"] == ["extract", "extract_2"]


def test_outside_a_definition_tasks_are_functions() -> None:
    @workflow(name="plain")
    def plain(day: str) -> int:
        return load(extract(day))

    assert plain("monday") == 10


def test_triggers_give_the_entries_of_a_definition() -> None:
    assert every("15m", misfire="skip") == {"every": "15m", "misfire": "skip"}
    assert at("2027-01-01T00:00:00+01:00", inputs={"a": 1}) == {"at": "2027-01-01T00:00:00+01:00", "inputs": {"a": 1}}
    assert manual(confirm=True) == {"manual": {"confirm": True}}


def test_what_is_known_only_later_cannot_be_used_now() -> None:
    @workflow(name="branches")
    def branches(day: str) -> None:
        if extract(day)["rows"] > 3:
            tidy()

    with pytest.raises(InvalidWorkflow, match=r"tasks\.extract\.output\.rows is known only when the workflow runs"):
        definition_of(branches)


def test_wrong_arguments_and_types_are_found_when_the_definition_is_made() -> None:
    @workflow(name="wrong")
    def wrong() -> None:
        extract()  # type: ignore[call-arg]

    @workflow(name="untyped")
    def untyped(day) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001 - what is refused
        extract(day)

    @workflow(name="objects")
    def objects() -> None:
        load(object())

    for made, words in ((wrong, "missing a required argument"), (untyped, "day needs a type"), (objects, "JSON")):
        with pytest.raises(InvalidWorkflow, match=words):
            definition_of(made)


def write(tmp_path: Path, text: str, name: str = "nightly.py") -> Path:
    file = tmp_path / name
    file.write_text(text)
    return file


def test_a_file_gives_its_workflows_with_addresses_that_a_worker_can_import(tmp_path: Path) -> None:
    write(tmp_path, "NAME = 'from a neighbour'\n", "neighbour.py")
    text = (
        "from __future__ import annotations\nfrom neighbour import NAME\nfrom orrery import task, workflow\n\n"
        "@task()\ndef hello(name: str) -> str:\n    return name\n\n"
        "@workflow(name='greet', description=NAME)\ndef greet(name: str = 'you') -> None:\n    hello(name)\n"
    )
    (document,) = load_definitions(write(tmp_path, text))
    assert document["description"] == "from a neighbour"
    assert document["tasks"]["hello"]["python"]["call"] == "nightly:hello"


@pytest.mark.parametrize(
    ("text", "name", "words"),
    [
        ("x = 1\n", "empty.py", "defines no workflow"),
        ("def (:\n", "broken.py", "line 1"),
        ("import nowhere_at_all\n", "missing.py", "ModuleNotFoundError"),
        ("raise SystemExit(3)\n", "leaves.py", "SystemExit"),
        ("x = 1\n", "json.py", "another name"),
        ("x = 1\n", "not-a-name.py", "another name"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(tmp_path: Path, text: str, name: str, words: str) -> None:
    with pytest.raises(InvalidWorkflow, match=words):
        load_definitions(write(tmp_path, text, name))
