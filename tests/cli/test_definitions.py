"""Deploying, undeploying and looking at workflows."""

import json
from pathlib import Path
from typing import Any

from tests.support.canned_server import CannedServer
from tests.support.command_line import CommandLine

DEPLOYED: dict[str, Any] = {
    "workflow": "report",
    "workflow_id": "w",
    "version": 3,
    "created": True,
    "triggers": [{"name": "schedule-1", "next_at": "2026-03-29T01:00:00Z"}],
}
FLOW = "0190aaaa-0000-7000-8000-0000000000ff"


def a_workflow(**fields: Any) -> dict[str, Any]:
    return {
        "id": FLOW,
        "name": "report",
        "description": "Daily",
        "enabled": True,
        "live_version": 3,
        "created_at": "2026-03-29T01:00:00Z",
        "updated_at": "2026-03-29T01:00:00Z",
        "draft": None,
        "live_digest": "a",
        "draft_digest": "a",
        **fields,
    }


def test_deploy_sends_the_file_as_it_is_with_the_folder_of_its_code(
    orrery: CommandLine, server: CannedServer, tmp_path: Path
) -> None:
    (tmp_path / "report.yaml").write_text("workflow: report\n# kept\n")
    server.on("POST /workflows", (201, DEPLOYED))
    finished = orrery("deploy", "report.yaml")
    assert finished.out == "report: version 3 is live\n  schedule-1: next 2026-03-29 01:00:00Z\n"
    (request,) = server.received
    assert request.query == {"deploy": "true", "source": str(tmp_path)}
    assert (request.headers["content-type"], request.body) == ("application/yaml", b"workflow: report\n# kept\n")


def test_a_folder_is_deployed_file_by_file_and_one_wrong_file_spoils_no_other(
    orrery: CommandLine, server: CannedServer, tmp_path: Path
) -> None:
    for name in ("a.yaml", "sub/b.yml", "c.txt"):
        (tmp_path / "flows" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "flows" / name).write_text("workflow: x")
    errors = [
        {"loc": ["body", "tasks", "a"], "code": "unknown_key", "msg": "unknown key shel", "line": 4, "column": 5},
        {"loc": ["body", "triggers"], "code": "invalid_cron", "msg": "no such hour"},
    ]
    problem = {"code": "invalid_definition", "detail": "unknown key shel", "errors": errors}
    server.on("POST /workflows", (422, problem), (200, {**DEPLOYED, "created": False, "triggers": []}))
    finished = orrery("deploy", "flows")
    assert finished.code == 1
    assert finished.err == "flows/a.yaml:4:5: unknown key shel\nflows/a.yaml: triggers: no such hour\n"
    assert finished.out == "report: version 3 is live (unchanged)\n"


def test_a_document_may_come_from_standard_input(orrery: CommandLine, server: CannedServer) -> None:
    server.on("POST /workflows", (201, DEPLOYED))
    finished = orrery("deploy", "-", "--json", stdin="workflow: report\n")
    assert json.loads(finished.out) == [DEPLOYED]
    assert "source" not in server.received[0].query
    assert orrery("deploy", "-").err == "orrery: <stdin> is empty\n"


def test_a_python_file_is_deployed_as_the_document_that_it_makes(
    orrery: CommandLine, server: CannedServer, tmp_path: Path
) -> None:
    (tmp_path / "flow.py").write_text(
        "from orrery import task, workflow\n"
        "@task()\ndef go() -> None: ...\n@workflow(name='py')\ndef w() -> None: go()\n"
    )
    server.on("POST /workflows", (201, DEPLOYED))
    assert orrery("deploy", "flow.py").code == 0
    assert server.received[0].headers["content-type"] == "application/json"
    assert server.received[0].json == {"workflow": "py", "tasks": {"go": {"python": {"call": "flow:go", "args": {}}}}}


def test_what_is_no_document_is_refused_before_anything_is_sent(
    orrery: CommandLine, server: CannedServer, tmp_path: Path
) -> None:
    (tmp_path / "large.yaml").write_bytes(b"x" * (1024 * 1024 + 1))
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.py").write_text("def (:")
    refusals = {
        "large.yaml": (1, "larger than 1048576 bytes"),
        "gone.yaml": (1, "does not exist"),
        "empty": (1, "holds no .yaml or .yml file"),
        "notes.txt": (2, "must be a folder"),
        "broken.py": (1, "line 1"),
    }
    for path, (code, words) in refusals.items():
        finished = orrery("deploy", path)
        assert (finished.code, words in finished.err) == (code, True), finished.err
    assert server.received == []


def test_workflows_and_versions_are_listed(orrery: CommandLine, server: CannedServer) -> None:
    version = {
        "number": 3,
        "live": True,
        "created_at": "2026-03-29T01:00:00Z",
        "created_by": "key:a",
        "digest": "d" * 64,
    }
    server.on("GET /workflows", (200, {"items": [a_workflow()], "next_cursor": None}))
    server.on("GET /workflows/report/versions", (200, {"items": [version], "next_cursor": None}))
    assert "report  3        yes      2026-03-29 01:00:00Z  Daily" in orrery("workflows").out
    assert "3        yes   2026-03-29 01:00:00Z  key:a  dddddddddddd" in orrery("versions", "report").out


def test_show_falls_back_from_a_run_to_a_workflow_of_that_id(orrery: CommandLine, server: CannedServer) -> None:
    trigger = {
        "name": "every-1",
        "kind": "every",
        "expression": "900",
        "timezone": "UTC",
        "paused": True,
        "next_at": "2026-03-29T01:00:00Z",
    }
    server.on(f"GET /workflows/{FLOW}", (200, a_workflow(draft_digest="b")))
    server.on(f"GET /workflows/{FLOW}/triggers", (200, {"items": [trigger]}))
    out = orrery("show", FLOW).out
    assert "draft         differs from the live version" in out
    assert "every-1  every  900         UTC   paused" in out


def test_a_name_with_odd_characters_stays_one_part_of_the_address(orrery: CommandLine, server: CannedServer) -> None:
    orrery("undeploy", "../runs?x=1")
    assert server.received[0].path == "/workflows/..%2Fruns%3Fx%3D1/undeploy"
