"""An installation in memory that is just enough for the API: it remembers what it was asked and answers as told."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from scheduler_api.dependencies import ApiServices
from scheduler_application.actor import Actor
from scheduler_application.alert.telling import Alerted
from scheduler_application.errors import Conflict, InvalidCredential, NotFound, Rejected
from scheduler_application.heartbeat.manage import NewAddress
from scheduler_application.heartbeat.ping import PingCommand
from scheduler_application.idempotency import StoredAnswer
from scheduler_application.paging import Page, PageRequest
from scheduler_application.ports.logs import LogLine
from scheduler_application.ports.reading import (
    AlertFilter,
    AlertView,
    BackfillView,
    CalendarView,
    ExpectationView,
    FreezeView,
    HeartbeatView,
    LedgerView,
    QueueView,
    RunFilter,
    RunView,
    TaskRunView,
    TriggerView,
    VersionView,
    WorkerView,
    WorkflowView,
)
from scheduler_application.run.logs import LogPage, ReadLogsCommand
from scheduler_application.run.start import StartedRun, StartRunCommand
from scheduler_application.schedule.backfill_plan import BackfillPreview
from scheduler_application.schedule.calendars import CalendarDay, CalendarDays
from scheduler_application.schedule.forecast import Forecast, MinuteLoad
from scheduler_application.schedule.plan import Plan
from scheduler_application.why import Explanation
from scheduler_application.workflow.authoring import Deployment
from scheduler_domain.ids import DEFAULT_PROJECT
from scheduler_domain.schedule.timetable import Fire

API_KEY = "ork_test0001_" + "k" * 43 + "check1"
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
RUN_ID = "01990000-0000-7000-8000-00000000000a"
TASK_RUN_ID = "01990000-0000-7000-8000-00000000000b"
WORKER_ID = "01990000-0000-7000-8000-00000000000c"
BACKFILL_ID = "01990000-0000-7000-8000-00000000000e"
WORKFLOW_ID = "01990000-0000-7000-8000-00000000000d"
ALERT_ID = "01990000-0000-7000-8000-00000000000e"
HEARTBEAT_ID = "01990000-0000-7000-8000-00000000000f"
TOKEN = "orh_" + "t" * 43


def a_workflow(name: str = "nightly", **changed: Any) -> WorkflowView:
    values: dict[str, Any] = {
        "description": "",
        "labels": [],
        "enabled": True,
        "live_version": 1,
        "created_at": NOW,
        "updated_at": NOW,
    }
    return WorkflowView(id=WORKFLOW_ID, name=name, **{**values, **changed})


def a_freeze() -> FreezeView:
    return FreezeView(RUN_ID, None, "stock-taking", NOW, NOW, None, NOW, "key:test0001", 0)


def a_trigger(name: str = "manual", **changed: Any) -> TriggerView:
    values: dict[str, Any] = {"kind": "manual", "expression": "", "timezone": "UTC", "policy": {"misfire": "fire_once"}}
    values |= {"paused": False, "active": True, "due_at": None, "next_at": None, "last_due_at": None}
    values |= {"error": None, "anchor_at": NOW}
    values = {key: value for key, value in values.items() if key in TriggerView.__dataclass_fields__}
    return TriggerView(id=WORKFLOW_ID, workflow="nightly", name=name, **{**values, **changed})


def a_calendar() -> CalendarView:
    return CalendarView("closed", "dates", {"kind": "dates", "dates": ["12-24"]}, created_at=NOW, updated_at=NOW)


def a_run(**changed: Any) -> RunView:
    values: dict[str, Any] = {"workflow": "nightly", "version": 1, "state": "running", "trigger": None}
    values |= {"started_by": "key:test0001", "due_at": None, "inputs": {}, "priority": "normal", "created_at": NOW}
    values |= {"started_at": NOW, "finished_at": None, "tasks_total": 1, "tasks_left": 1, "tasks_failed": 0}
    values |= {"error": None, "parent_run_id": None, "rerun_of": None, "tasks": []}
    return RunView(id=RUN_ID, **{**values, **changed})


def a_task_run(**changed: Any) -> TaskRunView:
    values: dict[str, Any] = {
        "run_id": RUN_ID,
        "task": "load",
        "item_index": None,
        "state": "running",
    }
    values |= {"queue": "default", "priority": "normal", "attempt": 1, "claim_no": 1, "worker_losses": 0}
    values |= {"worker_id": WORKER_ID, "created_at": NOW, "ready_at": NOW, "started_at": NOW, "finished_at": None}
    values |= {"wake_at": None, "output": None, "error": None, "child_run_id": None, "attempts": []}
    return TaskRunView(id=TASK_RUN_ID, **{**values, **changed})


def an_expectation() -> ExpectationView:
    last = NOW - timedelta(days=1)
    return ExpectationView(
        ALERT_ID, "nightly", "by-six", "0 6 * * *", "UTC", "succeeded", None, NOW, last, "missed", None
    )


def a_heartbeat(**changed: Any) -> HeartbeatView:
    values: dict[str, Any] = {"state": "up", "every": "1h", "schedule": None, "timezone": "UTC", "grace": "5m"}
    values |= {"due_at": NOW, "down_at": NOW, "last_ping_at": NOW, "started_at": None, "took_ms": None}
    values |= {"last_signal": "ping", "last_signal_at": NOW, "last_message": "", "message_truncated": False}
    values |= {"created_at": NOW, "updated_at": NOW}
    return HeartbeatView(id=HEARTBEAT_ID, name="backup", **{**values, **changed})


def an_alert() -> AlertView:
    key = "workflow/nightly/expect/by-six"
    detail = {"state": "succeeded"}
    return AlertView(
        ALERT_ID, "expectation_missed", key, "nightly", None, "it did not run", detail, NOW, NOW, resolved_at=None
    )


def a_worker() -> WorkerView:
    return WorkerView(WORKER_ID, "w1", "active", ["default"], 4, 0, NOW, NOW + timedelta(seconds=15), "0.1.0")


def a_line(number: int, text: str) -> LogLine:
    return LogLine(f"c{number}", "load", None, TASK_RUN_ID, 1, "stdout", NOW, text)


def a_plan(**changed: Any) -> Plan:
    values: dict[str, Any] = {"live_version": None, "version": 1, "creates_version": True, "enabled": True}
    values |= {"unchanged": False, "planned_from": NOW, "planned_until": NOW + timedelta(days=30)}
    values |= {"definition_total": 0, "definition": [], "triggers": []}
    return Plan("nightly", **{**values, **changed})


def a_forecast() -> Forecast:
    """One start in the second of two minutes."""
    peak = MinuteLoad(NOW + timedelta(minutes=1), 1, 0.5)
    until = NOW + timedelta(minutes=2)
    return Forecast(NOW, until, False, None, 4, 1, peak, [0, 1], [0.0, 0.5], [], 0, [], 0, [], 0)


def a_backfill(**changed: Any) -> BackfillView:
    values: dict[str, Any] = {"workflow": "nightly", "trigger": "schedule-1", "from_at": NOW, "to_at": NOW}
    values |= {"only_missing": False, "max_parallel": 1, "priority": "low", "state": "running", "reason": None}
    values |= {"next_at": NOW, "total": 24, "started": 1, "skipped": 0, "created_at": NOW, "finished_at": None}
    values |= {"created_by": "key:test0001", "runs": {"running": 1}}
    return BackfillView(id=BACKFILL_ID, **{**values, **changed})


def a_preview() -> BackfillPreview:
    queue = QueueView("default", 0, 1, None, 1, 4)
    return BackfillPreview("nightly", "schedule-1", NOW, NOW, 24, 20, 24, NOW, NOW, 2, 1.5, 18.0, [queue])


class FakeReader:
    """One workflow ``nightly`` with one run, one task run and one worker."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.workflow_view = a_workflow()

    async def workflows(self, project: str, page: PageRequest) -> Page[WorkflowView]:
        self.asked.append(("workflows", page))
        return Page([self.workflow_view], "more")

    async def workflow(self, project: str, name_or_id: str) -> WorkflowView | None:
        known = name_or_id in (self.workflow_view.name, WORKFLOW_ID) and project == DEFAULT_PROJECT
        return self.workflow_view if known else None

    async def versions(self, project: str, workflow_id: str, page: PageRequest) -> Page[VersionView]:
        return Page([_version(1)])

    async def version(self, project: str, workflow_id: str, number: int) -> VersionView | None:
        return _version(number) if number == 1 else None

    async def triggers(self, project: str, workflow_id: str) -> list[TriggerView]:
        return [a_trigger()]

    async def schedules(self, project: str, page: PageRequest) -> Page[TriggerView]:
        return Page([a_trigger("schedule-1", kind="schedule", next_at=NOW)])

    async def calendars(self, project: str, page: PageRequest) -> Page[CalendarView]:
        return Page([a_calendar()])

    async def calendar(self, project: str, name: str) -> CalendarView | None:
        return a_calendar() if name == "closed" else None

    async def runs(self, project: str, where: RunFilter, page: PageRequest) -> Page[RunView]:
        self.asked.append(("runs", (where, page)))
        return Page([a_run(tasks=None)])

    async def run(self, project: str, run_id: str) -> RunView | None:
        return a_run() if run_id == RUN_ID else None

    async def task_runs(self, project: str, run_id: str, page: PageRequest) -> Page[TaskRunView]:
        return Page([a_task_run(attempts=None)])

    async def task_run(self, project: str, task_run_id: str) -> TaskRunView | None:
        return a_task_run() if task_run_id == TASK_RUN_ID else None

    async def ledger(self, project: str, page: PageRequest, **where: Any) -> Page[LedgerView]:
        self.asked.append(("ledger", where))
        return Page([LedgerView(WORKFLOW_ID, "nightly", "schedule-1", NOW, "fired", "on_time", RUN_ID, NOW)])

    async def slot_holders(self, project: str, run_id: str) -> list[str]:
        return []

    async def freezes(self, project: str, page: PageRequest) -> Page[FreezeView]:
        return Page([a_freeze()])

    async def freezes_ahead(self, project: str, now: datetime) -> list[FreezeView]:
        return []

    async def freeze(self, project: str, freeze_id: str) -> FreezeView | None:
        return None

    async def backfills(self, project: str, page: PageRequest, *, workflow: str | None = None) -> Page[BackfillView]:
        self.asked.append(("backfills", (workflow, page)))
        return Page([a_backfill(runs=None)])

    async def backfill(self, project: str, backfill_id: str) -> BackfillView | None:
        return a_backfill() if backfill_id == BACKFILL_ID else None

    async def expectations(self, project: str, workflow_id: str) -> list[ExpectationView]:
        return [an_expectation()]

    async def heartbeats(self, project: str, page: PageRequest) -> Page[HeartbeatView]:
        return Page([a_heartbeat()])

    async def heartbeat(self, project: str, name: str) -> HeartbeatView | None:
        return a_heartbeat() if name == "backup" else None

    async def alerts(self, project: str, where: AlertFilter, page: PageRequest) -> Page[AlertView]:
        self.asked.append(("alerts", (where, page)))
        return Page([an_alert()], "more")

    async def alert(self, project: str, alert_id: str) -> AlertView | None:
        return an_alert() if alert_id == ALERT_ID else None

    async def workers(self) -> list[WorkerView]:
        return [a_worker()]

    async def queues(self, project: str) -> list[QueueView]:
        return [QueueView("default", 0, 1, None, 1, 4)]


def _version(number: int) -> VersionView:
    return VersionView(WORKFLOW_ID, "nightly", number, "d1", True, NOW, "key:test0001", {"workflow": "nightly"})


class FakeKeys:
    """Idempotency keys with the contract of the real ones."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], tuple[str, StoredAnswer | None]] = {}

    async def begin(self, actor: Actor, key: str, route: str, request_hash: str) -> StoredAnswer | None:
        known = self.kept.get((actor.principal, key))
        if known is None:
            self.kept[actor.principal, key] = (request_hash, None)
            return None
        if known[0] != request_hash:
            raise Rejected("the key was used for another request", code="idempotency_mismatch")
        if known[1] is None:
            raise Conflict("the first request is still under way", code="idempotency_in_progress")
        return known[1]

    async def finish(self, actor: Actor, key: str, route: str, status: int, body: bytes) -> None:
        self.kept[actor.principal, key] = (self.kept[actor.principal, key][0], StoredAnswer(status, body))

    async def abandon(self, actor: Actor, key: str, route: str) -> None:
        del self.kept[actor.principal, key]


class FakeUseCase:
    """Answers with ``answer`` (or what it returns when called), or raises it; remembers every command."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.commands: list[Any] = []

    async def execute(self, command: Any, actor: Actor | None = None) -> Any:
        self.commands.append(command)
        answer = self.answer(command) if callable(self.answer) else self.answer
        if isinstance(answer, Exception):
            raise answer
        return answer


class FakeLive:
    """Changes that the test publishes."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Mapping[str, Any]] = asyncio.Queue()

    async def publish(self, changes: Any) -> None:
        for change in changes:
            self.queue.put_nowait(change)

    async def subscribe(self, project: str) -> AsyncIterator[Mapping[str, Any]]:
        while True:
            yield await self.queue.get()


class FakeReadiness:
    def __init__(self) -> None:
        self.parts = [("store", True, "answers"), ("broker", True, "answers")]

    async def check(self) -> list[tuple[str, bool, str]]:
        return self.parts


def _by_name(command: Any) -> Any:
    name = command if isinstance(command, str) else command.name
    return a_heartbeat() if name == "backup" else NotFound("there is no such heartbeat")


def _rotate(command: Any) -> Any:
    found = _by_name(command)
    return found if isinstance(found, NotFound) else NewAddress(found, TOKEN)


def _ping(command: PingCommand) -> Any:
    return Alerted() if command.token == TOKEN else NotFound("there is no such heartbeat")


def _authenticate(key: str) -> Any:
    if key != API_KEY:
        return InvalidCredential("the credential is not a valid API key")
    return Actor("key:test0001", DEFAULT_PROJECT)


def _start(command: StartRunCommand) -> Any:
    if command.workflow not in ("nightly", WORKFLOW_ID):
        return NotFound("there is no such workflow")
    return StartedRun(RUN_ID, "running", replayed=False)


def _start_all(commands: list[StartRunCommand]) -> Any:
    return [_start(command) for command in commands]


def _read_logs(command: ReadLogsCommand) -> Any:
    if command.run_id != RUN_ID:
        return NotFound("there is no such run")
    if command.cursor == "c2":
        return LogPage([], "c2", finished=True)
    if command.cursor is not None and command.cursor != "c1":
        return Rejected("the cursor is not one of this log", code="invalid_cursor")
    lines = [a_line(1, "one\x1b[2J"), a_line(2, "two </script>")]
    return LogPage(lines[1:] if command.cursor == "c1" else lines, "c2", finished=True)


class FakeUseCases:
    """The container: every use case by its name; a test may put another answer in place."""

    def __init__(self) -> None:
        view = a_workflow()
        self.made: dict[str, Any] = {
            "authenticate": FakeUseCase(_authenticate),
            "save_draft": FakeUseCase(view),
            "deploy_workflow": FakeUseCase(Deployment("nightly", WORKFLOW_ID, 1, True, [a_trigger()])),
            "delete_workflow": FakeUseCase(None),
            "start_run": FakeUseCase(_start),
            "start_runs": FakeUseCase(_start_all),
            "cancel_run": FakeUseCase(a_run(state="cancelling")),
            "rerun_run": FakeUseCase(StartedRun(RUN_ID, "running", replayed=False)),
            "retry_task_run": FakeUseCase(StartedRun(RUN_ID, "running", replayed=False)),
            "cancel_task_run": FakeUseCase(a_task_run(state="cancelled")),
            "stop_workflow": FakeUseCase([RUN_ID]),
            "freeze_schedules": FakeUseCase(a_freeze()),
            "lift_freeze": FakeUseCase(a_freeze()),
            "pause_triggers": FakeUseCase([a_trigger(paused=True)]),
            "resume_triggers": FakeUseCase([a_trigger()]),
            "preview_schedule": FakeUseCase([Fire(NOW, NOW.astimezone(UTC))]),
            "next_fires": FakeUseCase([(a_trigger(), [Fire(NOW, NOW)])]),
            "plan_workflow": FakeUseCase(a_plan()),
            "forecast_starts": FakeUseCase(a_forecast()),
            "plan_backfill": FakeUseCase(a_preview()),
            "start_backfill": FakeUseCase(a_backfill()),
            "pause_backfill": FakeUseCase(a_backfill(state="paused")),
            "resume_backfill": FakeUseCase(a_backfill()),
            "cancel_backfill": FakeUseCase(a_backfill(state="cancelling")),
            "explain": FakeUseCase(Explanation("it ran", [{"code": "fired", "text": "it ran"}])),
            "save_calendar": FakeUseCase(a_calendar()),
            "show_calendar": FakeUseCase(a_calendar()),
            "show_calendar_days": FakeUseCase(
                CalendarDays("closed", NOW.date(), NOW.date(), [CalendarDay(NOW.date(), "")])
            ),
            "delete_calendar": FakeUseCase(None),
            "refresh_calendar": FakeUseCase(a_calendar()),
            "drain_worker": FakeUseCase(a_worker()),
            "create_heartbeat": FakeUseCase(NewAddress(a_heartbeat(state="new"), TOKEN)),
            "edit_heartbeat": FakeUseCase(_by_name),
            "rotate_heartbeat": FakeUseCase(_rotate),
            "delete_heartbeat": FakeUseCase(lambda c: None if c.name == "backup" else NotFound("no such heartbeat")),
            "pause_heartbeat": FakeUseCase(_by_name),
            "resume_heartbeat": FakeUseCase(_by_name),
            "list_heartbeats": FakeUseCase(Page([a_heartbeat()])),
            "show_heartbeat": FakeUseCase(_by_name),
            "ping_heartbeat": FakeUseCase(_ping),
            "read_logs": FakeUseCase(_read_logs),
            "idempotency_keys": FakeKeys(),
        }
        for name in ("undeploy_workflow", "enable_workflow", "disable_workflow", "edit_task"):
            self.made[name] = FakeUseCase(view)

    def __getattr__(self, name: str) -> Any:
        return lambda: self.made[name]


class Installation:
    """The services of one application, in the hands of a test."""

    def __init__(self) -> None:
        self.use_cases = FakeUseCases()
        self.reader = FakeReader()
        self.live = FakeLive()
        self.readiness = FakeReadiness()
        self.services = ApiServices(self.use_cases, self.reader, self.live, self.readiness, lambda: b"orrery_up 1\n")

    def commands(self, use_case: str) -> list[Any]:
        commands: list[Any] = self.use_cases.made[use_case].commands
        return commands

    def answers(self, use_case: str, answer: Any) -> None:
        self.use_cases.made[use_case].answer = answer
