"""What every executor promises (`TaskExecutor`), for each of them."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from scheduler_application.ports.execution import ExecutionRequest, TaskExecutor
from scheduler_domain.run.outcome import Cancelled, Failed, HandedBack, Outcome, Succeeded, TimedOut
from scheduler_infrastructure.execution.database import DatabaseExecutor
from scheduler_infrastructure.execution.http import HttpExecutor
from scheduler_infrastructure.execution.python import PythonExecutor
from scheduler_infrastructure.execution.registry import ExecutorRegistry
from scheduler_infrastructure.execution.shell import ShellExecutor
from scheduler_infrastructure.execution.supervision.supervisor import Supervisor
from tests.support.attempts import CollectedLog, an_attempt, left_behind, stop

LONG_QUERY = "with recursive n(i) as (select 1 union all select i + 1 from n) select max(i) from n"


@dataclass
class Case:
    """One executor, and tasks for it: one that succeeds with ``output``, one that has no end, one that fails."""

    executor: TaskExecutor
    folder: Path
    quick: Any
    endless: Any
    failing: Any
    failure: str
    output: Any

    def attempt(self, settings: Any, **changes: Any) -> ExecutionRequest:
        return an_attempt(self.executor.name, settings, self.folder, **{"source": self.folder, **changes})

    async def run(self, settings: Any, **changes: Any) -> Outcome:
        return await self.executor.execute(self.attempt(settings, **changes), CollectedLog())


def shell_case(folder: Path) -> Case:
    return Case(
        ShellExecutor(Supervisor()),
        folder,
        quick={"script": 'echo 7 > "$ORRERY_OUTPUT"'},
        endless={"script": "sleep 1000"},
        failing={"script": "exit 9"},
        failure="exit_code",
        output=7,
    )


def python_case(folder: Path) -> Case:
    text = "import time\ndef seven(): return 7\ndef wait(): time.sleep(1000)\ndef fail(): raise OSError\n"
    (folder / "contract_jobs.py").write_text(text)
    return Case(
        PythonExecutor(Supervisor()),
        folder,
        quick={"call": "contract_jobs:seven"},
        endless={"call": "contract_jobs:wait"},
        failing={"call": "contract_jobs:fail"},
        failure="exception",
        output=7,
    )


def http_case(folder: Path, port: int) -> Case:
    url = f"http://127.0.0.1:{port}"
    return Case(
        HttpExecutor(allowed_networks=["127.0.0.0/8"]),
        folder,
        quick={"url": f"{url}/seven"},
        endless={"url": f"{url}/silent"},
        failing={"url": f"{url}/other"},
        failure="http_status",
        output={
            "status": 200,
            "headers": {"content-type": "application/json", "content-length": "1", "connection": "close"},
            "body": 7,
        },
    )


def database_case(folder: Path, url: str, endless: str) -> Case:
    return Case(
        DatabaseExecutor({"main": url}),
        folder,
        quick={"connection": "main", "sql": "select 7 as n"},
        endless={"connection": "main", "sql": endless},
        failing={"connection": "main", "sql": "select nonsense"},
        failure="sql_error",
        output={"rows": [{"n": 7}], "row_count": 1, "truncated": False},
    )


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    try:
        if b"/silent" in head:
            await reader.read()
        status = b"200 OK" if b"/seven" in head else b"404 Not Found"
        writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Type: application/json\r\n")
        writer.write(b"Content-Length: 1\r\nConnection: close\r\n\r\n7")
        await writer.drain()
    except ConnectionError:
        return
    finally:
        writer.close()


@pytest.fixture(params=["shell", "python", "http", "database on sqlite", "database on postgresql"])
async def case(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Case]:
    server = await asyncio.start_server(_answer, "127.0.0.1", 0)
    match request.param:
        case "shell":
            made = shell_case(tmp_path)
        case "python":
            made = python_case(tmp_path)
        case "http":
            made = http_case(tmp_path, server.sockets[0].getsockname()[1])
        case "database on sqlite":
            made = database_case(tmp_path, f"sqlite:///{tmp_path}/data.db", LONG_QUERY)
        case _:
            url = request.getfixturevalue("postgres_url")
            made = database_case(tmp_path, url, "select pg_sleep(1000)")
    await made.executor.open()
    yield made
    await made.executor.close()
    server.close()
    await server.wait_closed()


async def test_a_task_succeeds_with_its_output(case: Case) -> None:
    assert await case.run(case.quick) == Succeeded(case.output)


async def test_a_failure_is_a_value_with_a_code(case: Case) -> None:
    outcome = await case.run(case.failing)
    assert isinstance(outcome, Failed)
    assert outcome.error.code == case.failure


@pytest.mark.parametrize("settings", [None, [], {}, {"surprise": 1}, {"script": 1, "call": 1, "url": 1, "sql": 1}])
async def test_wrong_settings_are_not_tried_again(case: Case, settings: Any) -> None:
    outcome = await case.run(settings)
    assert isinstance(outcome, Failed)
    assert outcome.error.code == "invalid_settings"
    assert not outcome.retryable


async def test_an_unknown_setting_is_refused(case: Case) -> None:
    outcome = await case.run({**case.quick, "surprise": 1})
    assert isinstance(outcome, Failed)
    assert outcome.error.code == "invalid_settings"
    assert "surprise" in outcome.error.message


@pytest.mark.parametrize(
    ("reason", "outcome"), [("cancel", Cancelled()), ("shutdown", HandedBack()), ("lost", HandedBack())]
)
async def test_a_stop_ends_the_attempt(case: Case, reason: str, outcome: Outcome) -> None:
    attempt = case.attempt(case.endless)
    running = asyncio.create_task(case.executor.execute(attempt, CollectedLog()))
    await asyncio.wait({running}, timeout=0.2)
    assert not running.done()
    stop(attempt, reason)
    assert await asyncio.wait_for(running, attempt.grace + 2) == outcome
    assert left_behind(attempt) == []


async def test_a_stop_before_the_start_is_seen(case: Case) -> None:
    attempt = case.attempt(case.endless)
    stop(attempt, "shutdown")
    assert await asyncio.wait_for(case.executor.execute(attempt, CollectedLog()), attempt.grace + 2) == HandedBack()


async def test_a_timeout_ends_the_attempt_in_time(case: Case) -> None:
    attempt = case.attempt(case.endless, timeout=0.3)
    outcome = await asyncio.wait_for(case.executor.execute(attempt, CollectedLog()), 0.3 + attempt.grace + 2)
    assert outcome == TimedOut(0.3)
    assert left_behind(attempt) == []


async def test_a_cancelled_call_raises_and_leaves_nothing(case: Case) -> None:
    attempt = case.attempt(case.endless)
    running = asyncio.create_task(case.executor.execute(attempt, CollectedLog()))
    await asyncio.wait({running}, timeout=0.2)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(running, 5)
    assert left_behind(attempt) == []


async def test_attempts_run_side_by_side(case: Case) -> None:
    endless = case.attempt(case.endless)
    blocked = asyncio.create_task(case.executor.execute(endless, CollectedLog()))
    outcomes = await asyncio.gather(*(case.run(case.quick) for _ in range(20)))
    assert outcomes == [Succeeded(case.output)] * 20
    assert not blocked.done()
    stop(endless, "cancel")
    assert await blocked == Cancelled()


async def test_the_registry_hands_each_request_to_the_executor_it_names(case: Case) -> None:
    registry = ExecutorRegistry([case.executor])
    assert registry.names == {case.executor.name}
    attempt = case.attempt(case.quick)
    assert await registry.execute(attempt, CollectedLog()) == Succeeded(case.output)


async def test_the_registry_refuses_an_executor_it_does_not_have(tmp_path: Path) -> None:
    registry = ExecutorRegistry([ShellExecutor(Supervisor())])
    outcome = await registry.execute(an_attempt("ssh", {}, tmp_path), CollectedLog())
    assert isinstance(outcome, Failed)
    assert outcome.error.code == "unknown_executor"
    assert not outcome.retryable


async def test_a_faulty_executor_does_not_take_the_worker_down(tmp_path: Path) -> None:
    class Faulty:
        name = "faulty"
        serves_lanes = False

        async def open(self) -> None: ...
        async def close(self) -> None: ...
        async def execute(self, request: ExecutionRequest, log: object) -> Outcome:
            raise KeyError("surprise")

    outcome = await ExecutorRegistry([Faulty()]).execute(an_attempt("faulty", {}, tmp_path), CollectedLog())
    assert isinstance(outcome, Failed)
    assert outcome.error.code == "executor_error"
