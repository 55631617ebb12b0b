"""Definitions over HTTP: what reaches the use cases, and how their answers look."""

from typing import Any

import httpx2
import pytest

from scheduler_application.errors import Conflict, NotFound
from scheduler_application.workflow.authoring import Deployment
from scheduler_domain.errors import InvalidDefinition, Problem
from tests.api.fakes import WORKFLOW_ID, Installation, a_workflow

WORKFLOWS = "/api/v1/workflows"
YAML = {"Content-Type": "application/yaml"}
DOCUMENT = b"workflow: nightly\ntasks: {a: {shell: 'true'}}\n"


@pytest.mark.parametrize("content_type", ["application/yaml", "application/x-yaml", "text/yaml; charset=utf-8"])
async def test_a_definition_in_yaml_becomes_a_new_draft(
    client: httpx2.AsyncClient, installation: Installation, content_type: str
) -> None:
    response = await client.post(WORKFLOWS, content=DOCUMENT, headers={"Content-Type": content_type})
    assert response.status_code == 201
    assert response.headers["location"] == f"{WORKFLOWS}/nightly"
    command = installation.commands("save_draft")[0]
    assert (command.text, command.format, command.must_be_new) == (DOCUMENT, "yaml", True)


async def test_a_definition_may_be_deployed_at_once(client: httpx2.AsyncClient, installation: Installation) -> None:
    response = await client.post(f"{WORKFLOWS}?deploy=true&source=/srv/code", content=DOCUMENT, headers=YAML)
    assert (response.status_code, response.json()["version"]) == (201, 1)
    command = installation.commands("deploy_workflow")[0]
    assert (command.text, command.format, command.source, command.workflow) == (DOCUMENT, "yaml", "/srv/code", None)
    assert installation.commands("save_draft") == []


async def test_a_deploy_that_changes_nothing_is_200(client: httpx2.AsyncClient, installation: Installation) -> None:
    installation.answers("deploy_workflow", Deployment("nightly", WORKFLOW_ID, 3, False, []))
    response = await client.post(f"{WORKFLOWS}/nightly/deploy")
    assert (response.status_code, response.json()["created"]) == (200, False)


async def test_json_is_checked_before_it_is_handed_on(client: httpx2.AsyncClient, installation: Installation) -> None:
    headers = {"Content-Type": "application/json"}
    response = await client.post(WORKFLOWS, content=b'{"workflow":"a","workflow":"b"}', headers=headers)
    assert (response.status_code, response.json()["code"]) == (400, "duplicate_key")
    response = await client.post(WORKFLOWS, content=b"[]", headers=headers)
    assert (response.status_code, response.json()["code"]) == (422, "object_expected")
    assert installation.commands("save_draft") == []


async def test_a_definition_with_many_tasks_is_not_too_many_items(
    client: httpx2.AsyncClient, installation: Installation
) -> None:
    tasks = {f"t{n}": {"shell": "true", "needs": ["t0"]} for n in range(10_000)}
    assert (await client.post(WORKFLOWS, json={"workflow": "big", "tasks": tasks})).status_code == 201
    assert installation.commands("save_draft")[0].format == "json"


@pytest.mark.parametrize("content_type", ["text/html", "text/plain", "application/xml", ""])
async def test_a_definition_of_another_type_is_415(client: httpx2.AsyncClient, content_type: str) -> None:
    response = await client.post(WORKFLOWS, content=DOCUMENT, headers={"Content-Type": content_type})
    assert (response.status_code, response.json()["code"]) == (415, "unsupported_media_type")


async def test_a_definition_of_5_mb_is_413(client: httpx2.AsyncClient) -> None:
    response = await client.post(WORKFLOWS, content=b"#" * 5_000_000, headers=YAML)
    assert (response.status_code, response.json()["code"]) == (413, "body_too_large")


async def test_every_fault_of_a_definition_is_reported_with_its_place(
    client: httpx2.AsyncClient, installation: Installation
) -> None:
    problems = [
        Problem(("tasks", "a", "needs", 0), "unknown_task", "a needs b, which does not exist", 4, 9),
        Problem(("triggers", 0), "invalid_cron", "expected 5 fields", 2, 5),
    ]
    installation.answers("save_draft", InvalidDefinition(problems))
    response = await client.put(f"{WORKFLOWS}/nightly", content=DOCUMENT, headers=YAML)
    body = response.json()
    assert (response.status_code, body["code"]) == (422, "invalid_definition")
    assert "line 4, column 9" in body["detail"]
    assert body["errors"][0] == {
        "loc": ["body", "tasks", "a", "needs", 0],
        "code": "unknown_task",
        "msg": "a needs b, which does not exist",
        "line": 4,
        "column": 9,
    }


async def test_a_single_fault_gives_its_own_code(client: httpx2.AsyncClient, installation: Installation) -> None:
    installation.answers("save_draft", InvalidDefinition([Problem(("tasks",), "cycle", "a → b → a")]))
    response = await client.post(WORKFLOWS, content=DOCUMENT, headers=YAML)
    assert (response.status_code, response.json()["code"]) == (422, "cycle")


async def test_put_expects_the_name_of_its_address(client: httpx2.AsyncClient, installation: Installation) -> None:
    await client.put(f"{WORKFLOWS}/weekly", content=DOCUMENT, headers=YAML)
    await client.put(f"{WORKFLOWS}/{WORKFLOW_ID}", content=DOCUMENT, headers=YAML)
    assert [command.expected_name for command in installation.commands("save_draft")] == ["weekly", "nightly"]


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (NotFound("there is no such workflow"), 404, "not_found"),
        (Conflict("it has 2 live runs", code="in_use"), 409, "in_use"),
    ],
)
async def test_a_workflow_that_cannot_be_deleted_says_why(
    client: httpx2.AsyncClient, installation: Installation, error: Exception, status: int, code: str
) -> None:
    installation.answers("delete_workflow", error)
    response = await client.delete(f"{WORKFLOWS}/nightly")
    assert (response.status_code, response.json()["code"]) == (status, code)


async def test_a_deleted_workflow_is_204(client: httpx2.AsyncClient) -> None:
    response = await client.delete(f"{WORKFLOWS}/nightly")
    assert (response.status_code, response.content) == (204, b"")


async def test_tasks_of_the_draft_are_added_replaced_and_removed(
    client: httpx2.AsyncClient, installation: Installation
) -> None:
    task = {"name": "load", "shell": "true"}
    assert (await client.post(f"{WORKFLOWS}/nightly/tasks", json=task)).status_code == 201
    assert (await client.put(f"{WORKFLOWS}/nightly/tasks/load", json={"shell": "false"})).status_code == 200
    assert (await client.delete(f"{WORKFLOWS}/nightly/tasks/load")).status_code == 200
    commands = installation.commands("edit_task")
    assert [(c.task, c.content, c.create) for c in commands] == [
        ("load", {"shell": "true"}, True),
        ("load", {"shell": "false"}, False),
        ("load", None, False),
    ]


@pytest.mark.parametrize("verb", ["deploy", "undeploy", "enable", "disable", "stop", "pause", "resume"])
async def test_writes_without_a_body_refuse_one(client: httpx2.AsyncClient, verb: str) -> None:
    assert (await client.post(f"{WORKFLOWS}/nightly/{verb}", json={})).status_code in (200, 201, 202)
    response = await client.post(f"{WORKFLOWS}/nightly/{verb}", json={"force": True})
    assert (response.status_code, response.json()["code"]) == (422, "unknown_field")


@pytest.mark.parametrize("path", ["", "/deployment", "/triggers", "/versions", "/versions/1", "/runs"])
async def test_an_unknown_workflow_is_404_everywhere(client: httpx2.AsyncClient, path: str) -> None:
    assert (await client.get(f"{WORKFLOWS}/nightly{path}")).status_code == 200
    response = await client.get(f"{WORKFLOWS}/unknown{path}")
    assert (response.status_code, response.json()["code"]) == (404, "not_found")


async def test_what_is_not_deployed_has_no_deployment(client: httpx2.AsyncClient, installation: Installation) -> None:
    installation.reader.workflow_view = a_workflow(live_version=None)
    assert (await client.get(f"{WORKFLOWS}/nightly/deployment")).status_code == 404


@pytest.mark.parametrize("number", ["0", "2", "-1", "x", "1.0", "9" * 40])
async def test_a_version_that_is_not_there_is_404(client: httpx2.AsyncClient, number: str) -> None:
    assert (await client.get(f"{WORKFLOWS}/nightly/versions/{number}")).status_code == 404


async def test_lists_page_by_cursor(client: httpx2.AsyncClient, installation: Installation) -> None:
    response = await client.get(f"{WORKFLOWS}?limit=7&cursor=abc")
    assert response.json()["next_cursor"] == "more"
    assert [(page.limit, page.cursor) for _, page in installation.reader.asked] == [(7, "abc")]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("limit=0", "number_out_of_range"),
        ("limit=201", "number_out_of_range"),
        ("limit=-1", "number_out_of_range"),
        ("limit=100000000000000000000", "integer_expected"),
        ("limit=5.0", "integer_expected"),
        ("limit=+5", "integer_expected"),
        ("limit=", "integer_expected"),
        ("limit=١", "integer_expected"),
        ("limit=1&limit=2", "duplicate_parameter"),
        ("cursor=", "too_short"),
        ("cursor=%00", "control_character"),
        ("cursor=%ff", "control_character"),
        ("sort=name", "unknown_parameter"),
        ("fields=*", "unknown_parameter"),
        ("offset=1", "unknown_parameter"),
    ],
)
async def test_a_query_parameter_that_is_wrong_is_422(client: httpx2.AsyncClient, query: str, code: str) -> None:
    response = await client.get(f"{WORKFLOWS}?{query}")
    assert (response.status_code, response.json()["code"]) == (422, code)
    assert response.json()["errors"][0]["loc"][0] == "query"


async def test_source_is_refused_where_nothing_is_deployed(client: httpx2.AsyncClient) -> None:
    response = await client.post(f"{WORKFLOWS}?source=/srv", content=DOCUMENT, headers=YAML)
    assert response.status_code == 422


@pytest.mark.parametrize("value", ["1", "yes", "True", ""])
async def test_deploy_takes_true_or_false_only(client: httpx2.AsyncClient, value: str) -> None:
    response: Any = await client.post(f"{WORKFLOWS}?deploy={value}", content=DOCUMENT, headers=YAML)
    assert (response.status_code, response.json()["code"]) == (422, "boolean_expected")
