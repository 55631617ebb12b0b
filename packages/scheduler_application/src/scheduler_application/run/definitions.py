"""Definitions of versions, kept in memory: a version never changes, so what was read once is right for ever."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

import msgspec

from scheduler_application.errors import Conflict, NotFound
from scheduler_application.ports.persistence import Transaction
from scheduler_application.ports.rows import StoredVersion
from scheduler_application.workflow.document import load_definition
from scheduler_domain.errors import DomainError
from scheduler_domain.workflow.definition import WorkflowDefinition
from scheduler_domain.workflow.graph import topological_order

KEPT_TASKS = 50_000
"""How many tasks' definitions one process keeps; the versions that were not used for longest go first."""

LOADED_AT_ONCE = 50
"""How many versions are read together: a content may have a mebibyte."""

UNREADABLE_VERSION = "version_unreadable"
"""The code of the error about a version that cannot be made into a definition."""

_LOOP_BYTES = 32_768
"""A content longer than this is made into a definition off the event loop."""

_NO_DEFINITION = (DomainError, ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError)
_REASON_LENGTH = 500


@dataclass(frozen=True, slots=True)
class Version:
    """A version as the engine uses it."""

    id: str
    workflow_id: str
    number: int
    definition: WorkflowDefinition
    source: str | None


class Definitions:
    """Versions by id; safe to share by everything in one process."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Version] = OrderedDict()
        self._tasks = 0

    async def load(self, tx: Transaction, version_ids: Iterable[str]) -> None:
        """Reads together what `get` would read one by one. What the store does not have, or what cannot be read any
        more, is left for `get` to say, to whoever needs it and to nobody else."""
        missing = sorted(set(version_ids) - self._kept.keys())
        for start in range(0, len(missing), LOADED_AT_ONCE):
            for stored in await tx.workflows.versions(missing[start : start + LOADED_AT_ONCE]):
                with suppress(Conflict):
                    self._keep(await self._load(stored))

    async def get(self, tx: Transaction, version_id: str) -> Version:
        """Raises `NotFound` where the store has no such version, and `Conflict` (`UNREADABLE_VERSION`) where what it
        has is no definition any more."""
        known = self._kept.get(version_id)
        if known is not None:
            self._kept.move_to_end(version_id)
            return known
        stored = await tx.workflows.version(version_id)
        if stored is None:
            raise NotFound(f"there is no version {version_id}")
        return self._keep(await self._load(stored))

    @staticmethod
    async def _load(stored: StoredVersion) -> Version:
        def build() -> WorkflowDefinition:
            definition = load_definition(msgspec.json.decode(stored.content))
            # A run of a graph with a circle, or with a need that does not exist, would never end.
            topological_order({task.key: task.needs for task in definition.tasks.values()})
            return definition

        try:
            definition = build() if len(stored.content) <= _LOOP_BYTES else await asyncio.to_thread(build)
        except _NO_DEFINITION as error:
            reason = f"version {stored.number} of the workflow cannot be read: {type(error).__name__}: {error}"
            raise Conflict(reason[:_REASON_LENGTH], code=UNREADABLE_VERSION) from None
        return Version(stored.id, stored.workflow_id, stored.number, definition, stored.source)

    def _keep(self, version: Version) -> Version:
        if version.id not in self._kept:
            self._kept[version.id] = version
            self._tasks += len(version.definition.tasks)
        while self._tasks > KEPT_TASKS and len(self._kept) > 1:
            _, dropped = self._kept.popitem(last=False)
            self._tasks -= len(dropped.definition.tasks)
        return version
