"""Starting runs: by a person, a program or a manual trigger. Many at once share one transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from scheduler_application.actor import Actor
from scheduler_application.batching import Batcher
from scheduler_application.errors import (
    ApplicationError,
    Conflict,
    Forbidden,
    NotFound,
    Rejected,
)
from scheduler_application.ports.observing import Tracer
from scheduler_application.ports.persistence import Store, Transaction
from scheduler_application.ports.rows import LiveWorkflow
from scheduler_application.ports.time import Clock
from scheduler_application.run.advance import advance
from scheduler_application.run.announce import Announcer
from scheduler_application.run.begin import Begun, RunRequest, in_its_slot
from scheduler_application.run.definitions import Version
from scheduler_application.run.open_runs import Engine, OpenRuns
from scheduler_application.run.progress import Progress
from scheduler_application.run.scope import run_scope
from scheduler_domain.errors import DomainError
from scheduler_domain.run.states import RunState
from scheduler_domain.workflow.definition import Priority, TriggerKind
from scheduler_domain.workflow.parameters import resolve_inputs

MAX_BATCH = 1_000
"""The most runs that one call or one transaction starts."""

IDEMPOTENCY_LIFE = timedelta(days=7)
"""How long an idempotency key is remembered at the least."""


@dataclass(frozen=True, slots=True)
class StartRunCommand:
    """Starts the live version of ``workflow`` (a name or an id).

    ``trigger`` names the manual trigger where one was used, with the ``confirmation`` that it may ask for.
    ``priority`` replaces that of the definition. The same ``idempotency_key`` with the same ``request_hash`` answers
    with the run that it started before.
    """

    workflow: str
    inputs: Mapping[str, Any]
    idempotency_key: str | None = None
    request_hash: str = ""
    traceparent: str | None = None
    trigger: str | None = None
    confirmation: bool = False
    priority: str | None = None


@dataclass(frozen=True, slots=True)
class StartedRun:
    """``replayed`` is true where an earlier call with the same idempotency key started it."""

    run_id: str
    state: str
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class _Order:
    """A command with the identity that its run will have, however often the transaction is tried."""

    command: StartRunCommand
    actor: Actor
    run_id: str
    traceparent: str


_Answer = StartedRun | BaseException


class StartRuns:
    """Starts many runs, each with its own answer; who may run workflows of the project may do it. An answer that names
    a run is given after the commit: that run survives any crash."""

    def __init__(
        self,
        store: Store,
        engine: Engine,
        clock: Clock,
        announcer: Announcer,
        tracer: Tracer,
    ) -> None:
        self._store = store
        self._engine = engine
        self._clock = clock
        self._announcer = announcer
        self._tracer = tracer
        self._batcher: Batcher[_Order, StartedRun] = Batcher(self._start, limit=MAX_BATCH, lanes=2)

    async def execute(self, commands: Sequence[StartRunCommand], actor: Actor) -> list[StartedRun | BaseException]:
        """One answer a command, in order: the run, or why there is none."""
        if len(commands) > MAX_BATCH:
            raise Rejected(
                f"a batch has {len(commands)} runs; at most {MAX_BATCH} are accepted",
                code="too_many_items",
            )
        return list(await self._start([self._order(command, actor) for command in commands]))

    async def one(self, command: StartRunCommand, actor: Actor) -> StartedRun:
        """One run; what others start meanwhile shares its commit."""
        return await self._batcher.submit(self._order(command, actor))

    def _order(self, command: StartRunCommand, actor: Actor) -> _Order:
        return _Order(
            command,
            actor,
            self._engine.ids.new(),
            self._tracer.start_trace("run", command.traceparent),
        )

    async def _start(self, orders: Sequence[_Order]) -> Sequence[_Answer]:
        async def work(tx: Transaction) -> tuple[Sequence[_Answer], Progress]:
            return await _Starting(tx, self._engine, self._clock).start(orders)

        answers, progress = await self._store.transact(work)
        self._announcer.tell(progress)
        return answers


class StartRun:
    """Starts one run of a workflow's live version. The run is accepted when this returns, and then survives any
    crash."""

    def __init__(self, starts: StartRuns) -> None:
        self._starts = starts

    async def execute(self, command: StartRunCommand, actor: Actor) -> StartedRun:
        """Raises `NotFound`, `Conflict` (``not_deployed``, ``disabled``, ``skipped``), `Forbidden`
        (``confirmation_required``), `Rejected` (``idempotency_mismatch``) and `InvalidDefinition` for wrong inputs."""
        return await self._starts.one(command, actor)


class _Starting:
    """One transaction that starts runs."""

    def __init__(self, tx: Transaction, engine: Engine, clock: Clock) -> None:
        self._tx = tx
        self._engine = engine
        self._runs = OpenRuns(tx, engine, clock)
        self._now = self._runs.now

    async def start(self, orders: Sequence[_Order]) -> tuple[Sequence[_Answer], Progress]:
        answers, repeats = await self._replays(orders)
        live = await self._live(orders)
        requests = []
        for order in orders:
            if order.run_id in answers or order.run_id in repeats:
                continue
            try:
                requests.append(await self._request(order, live))
            except (ApplicationError, DomainError) as error:
                answers[order.run_id] = error
        beginning = await self._runs.begin(requests)
        for begun in beginning.begun:
            answers[begun.request.run_id] = _answer(begun)
        for run_id, first in repeats.items():
            answers[run_id] = _replayed(answers[first])
        await self._forget_refused(orders, answers)
        return [answers[order.run_id] for order in orders], await advance(self._runs)

    async def _replays(self, orders: Sequence[_Order]) -> tuple[dict[str, _Answer], dict[str, str]]:
        """Answers to requests that were made before, and which order of this batch repeats which."""
        answers: dict[str, _Answer] = {}
        repeats: dict[str, str] = {}
        keyed = [order for order in orders if order.command.idempotency_key is not None]
        if not keyed:
            return answers, repeats
        known = await self._tx.runs.reserve_keys([(*_key_row(order), self._now) for order in keyed])
        first: dict[tuple[str, str, str], _Order] = {}
        for order in keyed:
            project, principal, key, route, request_hash, run_id = _key_row(order)
            owner = first.setdefault((project, principal, key), order)
            held = known[project, principal, key]
            if (held.route, held.request_hash) != (route, request_hash):
                message = "this idempotency key was used for another request"
                answers[run_id] = Rejected(message, code="idempotency_mismatch")
            elif held.state is not None and held.run_id is not None and held.run_id != run_id:
                answers[run_id] = StartedRun(held.run_id, held.state, replayed=True)
            elif owner is not order:
                repeats[run_id] = owner.run_id
        return answers, repeats

    async def _live(self, orders: Sequence[_Order]) -> dict[tuple[str, str], LiveWorkflow]:
        found: dict[tuple[str, str], LiveWorkflow] = {}
        for project in {order.actor.project for order in orders}:
            names = sorted({order.command.workflow for order in orders if order.actor.project == project})
            for name, workflow in (await self._tx.workflows.live(project, names)).items():
                found[project, name] = workflow
        deployed = (workflow.version_id for workflow in found.values() if workflow.version_id is not None)
        await self._engine.definitions.load(self._tx, deployed)
        return found

    async def _request(self, order: _Order, live: Mapping[tuple[str, str], LiveWorkflow]) -> RunRequest:
        command = order.command
        workflow = live.get((order.actor.project, command.workflow))
        if workflow is None:
            raise NotFound(f"there is no workflow '{command.workflow[:100]}'")
        if workflow.version_id is None:
            raise Conflict(f"the workflow '{workflow.name}' is not deployed", code="not_deployed")
        if not workflow.enabled:
            raise Conflict(f"the workflow '{workflow.name}' is disabled", code="disabled")
        version = await self._engine.definitions.get(self._tx, workflow.version_id)
        _check_confirmation(version, command)
        request = RunRequest(
            run_id=order.run_id,
            project_id=workflow.project_id,
            version=version,
            inputs=self._inputs(order, workflow, version),
            started_by=order.actor.principal,
            traceparent=order.traceparent,
            priority=_priority(command),
        )
        return in_its_slot(request, self._now, self._engine.variables)

    def _inputs(self, order: _Order, workflow: LiveWorkflow, version: Version) -> Mapping[str, Any]:
        given, definitions = order.command.inputs, version.definition.inputs
        if not given and not definitions:
            return {}
        scope = {
            "vars": self._engine.variables,
            "run": run_scope(
                run_id=order.run_id,
                workflow=workflow.name,
                started_by=order.actor.principal,
                scheduled_for=None,
                created_at=self._now,
                failed=False,
            ),
        }
        return resolve_inputs(definitions, given, scope)

    async def _forget_refused(self, orders: Sequence[_Order], answers: Mapping[str, _Answer]) -> None:
        """A refused request leaves no key behind, so that it may be corrected and sent again."""
        for order in orders:
            refused = isinstance(answers[order.run_id], BaseException)
            if refused and order.command.idempotency_key is not None:
                project, principal, key, _, _, run_id = _key_row(order)
                await self._tx.runs.release_key(project, principal, key, run_id)


def _key_row(order: _Order) -> tuple[str, str, str, str, str, str]:
    command = order.command
    route = f"run:{command.workflow}"
    key = command.idempotency_key or ""
    return (
        order.actor.project,
        order.actor.principal,
        key,
        route,
        command.request_hash,
        order.run_id,
    )


def _replayed(answer: _Answer) -> _Answer:
    return replace(answer, replayed=True) if isinstance(answer, StartedRun) else answer


def _priority(command: StartRunCommand) -> Priority | None:
    if command.priority is None or command.priority in tuple(Priority):
        return None if command.priority is None else Priority(command.priority)
    accepted = ", ".join(Priority)
    raise Rejected(f"there is no priority '{command.priority[:100]}' (accepted: {accepted})", code="unknown_priority")


def _check_confirmation(version: Version, command: StartRunCommand) -> None:
    if command.trigger is None:
        return
    manual = [trigger for trigger in version.definition.triggers if trigger.kind is TriggerKind.MANUAL]
    if not manual:
        raise Conflict("the workflow has no manual trigger; start it by /run", code="no_manual_trigger")
    if any(trigger.confirm for trigger in manual) and not command.confirmation:
        raise Forbidden('this trigger asks for {"confirmation": true}', code="confirmation_required")


def _answer(begun: Begun) -> _Answer:
    if begun.state is not None:
        return StartedRun(begun.request.run_id, begun.state)
    if begun.skipped_by is not None:
        return Conflict(
            "the workflow's concurrency skips a run while another one lives",
            code="skipped",
        )
    # The commit of an earlier try had arrived although its answer was lost: the run is there.
    return StartedRun(begun.request.run_id, RunState.RUNNING)
