"""The life of a definition: drafted, deployed as a numbered version, taken away. A version never changes."""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from scheduler_application.actor import Actor
from scheduler_application.errors import Conflict, NotFound, Rejected
from scheduler_application.json_values import json_text
from scheduler_application.ports.calendars import Calendars
from scheduler_application.ports.messaging import Signals
from scheduler_application.ports.persistence import Store, Transaction
from scheduler_application.ports.reading import Reader, TriggerView, WorkflowView
from scheduler_application.ports.rows import StoredVersion
from scheduler_application.ports.time import Clock, Ids
from scheduler_application.workflow.document import (
    Document,
    check_content,
    digest,
    parse_document,
)
from scheduler_application.workflow.expecting import remove_expectations, switch_expectations
from scheduler_application.workflow.live_triggers import LiveTriggers


@dataclass(frozen=True, slots=True)
class WorkflowCommand:
    """``workflow`` is a name or an id."""

    workflow: str


@dataclass(frozen=True, slots=True)
class SaveDraftCommand:
    """``format`` is ``yaml`` or ``json``. ``expected_name`` is the name that the document must have; ``must_be_new``
    refuses to replace a draft."""

    text: bytes
    format: str
    expected_name: str | None = None
    must_be_new: bool = False


@dataclass(frozen=True, slots=True)
class DeployCommand:
    """Either the draft of ``workflow``, or a document (``text``) that is saved and deployed at once. ``source`` is the
    folder with the code that the version's tasks import."""

    workflow: str | None = None
    text: bytes | None = None
    format: str = "yaml"
    source: str | None = None


@dataclass(frozen=True, slots=True)
class EditTaskCommand:
    """``task`` of the draft gets ``content``; ``None`` takes it away. ``create`` refuses to replace one."""

    workflow: str
    task: str
    content: dict[str, Any] | None
    create: bool = False


@dataclass(frozen=True, slots=True)
class Deployment:
    """``created`` is false where the same content had been deployed before: then that version is live (again)."""

    workflow: str
    workflow_id: str
    version: int
    created: bool
    triggers: list[TriggerView]


class SaveDraft:
    """Checks a document wholly and keeps it as the workflow's one draft. Nothing that runs changes."""

    def __init__(self, store: Store, reader: Reader, clock: Clock, ids: Ids) -> None:
        self._store = store
        self._reader = reader
        self._clock = clock
        self._ids = ids

    async def execute(self, command: SaveDraftCommand, actor: Actor) -> WorkflowView:
        """Raises `InvalidDefinition` with every problem, `Rejected` (``name_mismatch``), `Conflict`
        (``already_exists``)."""
        document = await parsed(command.text, command.format)
        name = document.definition.name
        if command.expected_name not in (None, name):
            raise Rejected(
                f"the document names '{name}', not '{command.expected_name}'",
                code="name_mismatch",
            )
        now = self._clock.now()
        workflow_id = self._ids.new()

        async def save(tx: Transaction) -> None:
            await save_draft(tx, document, actor, workflow_id, now, must_be_new=command.must_be_new)

        await self._store.transact(save)
        return await seen(self._reader, name, actor)


class EditTask:
    """Changes one task of the draft; the whole document is checked again."""

    def __init__(self, store: Store, reader: Reader, clock: Clock, ids: Ids) -> None:
        self._store = store
        self._reader = reader
        self._clock = clock
        self._ids = ids

    async def execute(self, command: EditTaskCommand, actor: Actor) -> WorkflowView:
        """Raises `NotFound`, `Conflict` (``already_exists``) and `InvalidDefinition`."""
        now = self._clock.now()

        async def edit(tx: Transaction) -> None:
            row = await existing(tx, command.workflow, actor, lock=True)
            content = msgspec.json.decode(row["draft"])
            _edit_task(content["tasks"], command)
            document = await asyncio.to_thread(check_content, content)
            await save_draft(tx, document, actor, row["id"], now)

        await self._store.transact(edit)
        return await seen(self._reader, command.workflow, actor)


def _edit_task(tasks: dict[str, Any], command: EditTaskCommand) -> None:
    if command.create and command.task in tasks:
        raise Conflict(
            f"the draft has a task '{command.task[:100]}' already",
            code="already_exists",
        )
    if not command.create and command.task not in tasks:
        raise NotFound(f"the draft has no task '{command.task[:100]}'")
    if command.content is None:
        del tasks[command.task]
    else:
        tasks[command.task] = command.content


class DeployWorkflow:
    """Freezes a document as the next version and makes it live, with its triggers, in one transaction. Triggers that
    stay keep their identity, pause, phase and ledger; the same content makes no new version."""

    def __init__(
        self, store: Store, reader: Reader, calendars: Calendars, clock: Clock, ids: Ids, signals: Signals
    ) -> None:
        self._store = store
        self._reader = reader
        self._calendars = calendars
        self._clock = clock
        self._ids = ids
        self._signals = signals

    async def execute(self, command: DeployCommand, actor: Actor) -> Deployment:
        """Raises `NotFound` and `InvalidDefinition`; then nothing has changed."""
        given = None if command.text is None else await parsed(command.text, command.format)
        version, created, name = await self._store.transact(lambda tx: self._deploy(tx, given, command, actor))
        await self._signals.wake_dispatchers()
        triggers = await self._reader.triggers(actor.project, version.workflow_id)
        return Deployment(name, version.workflow_id, version.number, created, triggers)

    async def _deploy(
        self,
        tx: Transaction,
        given: Document | None,
        command: DeployCommand,
        actor: Actor,
    ) -> tuple[StoredVersion, bool, str]:
        now = self._clock.now()
        if given is not None:
            await save_draft(tx, given, actor, self._ids.new(), now)
            row = await existing(tx, given.definition.name, actor, lock=True)
            document = given
        else:
            row = await existing(tx, command.workflow or "", actor, lock=True)
            document = await asyncio.to_thread(check_content, msgspec.json.decode(row["draft"]))
        version, created = await self._version(tx, row["id"], document, command.source, actor, now)
        labels = json_text(document.definition.labels)
        await tx.workflows.update(row["id"], {"live_version_id": version.id, "labels": labels, "updated_at": now})
        triggers = LiveTriggers(tx, self._calendars, self._ids, actor, now)
        await triggers.switch(row["id"], document.definition)
        await switch_expectations(tx, self._ids, row["id"], document.definition, actor, now)
        return version, created, row["name"]

    async def _version(
        self,
        tx: Transaction,
        workflow_id: str,
        document: Document,
        source: str | None,
        actor: Actor,
        now: datetime,
    ) -> tuple[StoredVersion, bool]:
        content_digest = digest(document.content)
        known = await tx.workflows.version_by_digest(workflow_id, content_digest, source)
        if known is not None:
            return known, False
        number = await tx.workflows.last_number(workflow_id) + 1
        content = json_text(document.content)
        version = StoredVersion(self._ids.new(), workflow_id, number, content, source)
        row = {
            "id": version.id,
            "workflow_id": workflow_id,
            "number": number,
            "digest": content_digest,
            "content": content,
            "source": source,
            "created_at": now,
            "created_by": actor.principal,
        }
        await tx.workflows.insert_version(row)
        return version, True


class UndeployWorkflow:
    """Takes a workflow away: no trigger fires and nothing starts it. What runs goes on, history stays."""

    def __init__(self, store: Store, reader: Reader, clock: Clock) -> None:
        self._store = store
        self._reader = reader
        self._clock = clock

    async def execute(self, command: WorkflowCommand, actor: Actor) -> WorkflowView:
        """Raises `NotFound`; undeploying twice is undeploying once."""
        now = self._clock.now()

        async def undeploy(tx: Transaction) -> None:
            row = await existing(tx, command.workflow, actor, lock=True)
            await tx.workflows.update(row["id"], {"live_version_id": None, "updated_at": now})
            for trigger in await tx.triggers.of_workflow(row["id"]):
                if trigger["active"]:
                    await tx.triggers.update(trigger["id"], {"active": False, "due_at": None, "next_at": None})
            await remove_expectations(tx, row["id"], now)

        await self._store.transact(undeploy)
        return await seen(self._reader, command.workflow, actor)


class _SetEnabled:
    enabled: bool

    def __init__(self, store: Store, reader: Reader, clock: Clock) -> None:
        self._store = store
        self._reader = reader
        self._clock = clock

    async def execute(self, command: WorkflowCommand, actor: Actor) -> WorkflowView:
        """Raises `NotFound`."""
        now = self._clock.now()

        async def switch(tx: Transaction) -> None:
            row = await existing(tx, command.workflow, actor, lock=True)
            await tx.workflows.update(row["id"], {"enabled": self.enabled, "updated_at": now})

        await self._store.transact(switch)
        return await seen(self._reader, command.workflow, actor)


class EnableWorkflow(_SetEnabled):
    """A disabled workflow may be started again; due times from now on fire."""

    enabled = True


class DisableWorkflow(_SetEnabled):
    """Nothing starts the workflow; its due times are recorded as skipped."""

    enabled = False


class DeleteWorkflow:
    """Deletes a workflow that is not deployed and has no live run. Runs and their versions stay as history."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def execute(self, command: WorkflowCommand, actor: Actor) -> None:
        """Raises `NotFound`, and `Conflict` (``in_use``) with the counts."""
        now = self._clock.now()

        async def delete(tx: Transaction) -> None:
            row = await existing(tx, command.workflow, actor, lock=True)
            triggers = [trigger for trigger in await tx.triggers.of_workflow(row["id"]) if trigger["active"]]
            live = await tx.workflows.live_runs(row["id"])
            if triggers or live:
                counts = f"{len(triggers)} active triggers and {len(live)} live runs"
                raise Conflict(
                    f"the workflow is in use: {counts}; undeploy and stop it first",
                    code="in_use",
                )
            await remove_expectations(tx, row["id"], now)
            await tx.workflows.delete(row["id"], now)

        await self._store.transact(delete)


async def parsed(text: bytes, form: str) -> Document:
    """The checked document, made off the event loop; raises `InvalidDefinition`."""
    return await asyncio.to_thread(parse_document, text, form=form)


async def save_draft(
    tx: Transaction,
    document: Document,
    actor: Actor,
    workflow_id: str,
    now: datetime,
    *,
    must_be_new: bool = False,
) -> None:
    """Inserts the workflow (as ``workflow_id``) or replaces its draft."""
    definition = document.definition
    values = {
        "description": definition.description,
        "draft": json_text(document.content),
        "draft_digest": digest(document.content),
        "updated_at": now,
    }
    row = await tx.workflows.find(actor.project, definition.name, lock=True)
    if row is None:
        identity = {
            "id": workflow_id,
            "project_id": actor.project,
            "name": definition.name,
        }
        if await tx.workflows.insert({**identity, **values, "enabled": True, "created_at": now}):
            return
        # Somebody else made it between the two statements.
        row = await existing(tx, definition.name, actor, lock=True)
    # It is its own where an earlier try was committed and its answer lost.
    if must_be_new and row["id"] != workflow_id:
        raise Conflict(f"there is a workflow '{definition.name}' already", code="already_exists")
    await tx.workflows.update(row["id"], values)


async def existing(tx: Transaction, name_or_id: str, actor: Actor, *, lock: bool = False) -> dict[str, Any]:
    """The workflow's row; raises `NotFound`."""
    row = await tx.workflows.find(actor.project, name_or_id, lock=lock)
    if row is None:
        raise NotFound(f"there is no workflow '{name_or_id[:100]}'")
    return row


async def seen(reader: Reader, name_or_id: str, actor: Actor) -> WorkflowView:
    """The workflow as readers see it; raises `NotFound`."""
    view = await reader.workflow(actor.project, name_or_id)
    if view is None:
        raise NotFound(f"there is no workflow '{name_or_id[:100]}'")
    return view
