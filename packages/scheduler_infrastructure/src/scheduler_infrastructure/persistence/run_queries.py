"""The queries of runs and task runs for people, over the live ones and history alike.

A list first finds its page, each state by itself along an index that ends with the id, and joins names to that page
only: so a page costs a page, however long the history is and however rare the state.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Select, false, select, union_all

from scheduler_application.ports.reading import RunFilter
from scheduler_domain.ids import canonical_uuid
from scheduler_infrastructure.persistence.history_tables import all_runs, all_task_runs
from scheduler_infrastructure.persistence.partitions import first_id
from scheduler_infrastructure.persistence.tables import triggers, versions, workflows

_IDENTITY_BEFORE = timedelta(hours=1)
"""A run has its identity before its row is written, by less than that."""

_parents = all_task_runs.alias("parents")


def run_by_id(project: str, run_id: str) -> Select[Any]:
    return _named(select(all_runs).where(all_runs.c.project_id == project, all_runs.c.id == run_id).subquery("found"))


def runs_page(
    project: str,
    where: RunFilter,
    *,
    workflow_id: str | None,
    trigger_ids: Sequence[str] | None,
    before: str | None,
    limit: int,
) -> Select[Any]:
    """The newest ``limit`` runs with an id less than ``before`` that ``where`` asks for; the filters that are names
    come as the ids behind them, ``None`` where they are not asked for."""
    conditions = [all_runs.c.project_id == project, *_conditions(where)]
    if where.workflow is not None:
        conditions.append(all_runs.c.workflow_id == workflow_id)
    if trigger_ids is not None:
        one = len(trigger_ids) == 1
        conditions.append(all_runs.c.trigger_id == trigger_ids[0] if one else all_runs.c.trigger_id.in_(trigger_ids))
    if before is not None:
        conditions.append(all_runs.c.id < before)
    states: list[tuple[ColumnElement[bool], ...]] = [(all_runs.c.state == state,) for state in where.states or ()]
    parts = [
        select(all_runs).where(*conditions, *state).order_by(all_runs.c.id.desc()).limit(limit).subquery()
        for state in states or [()]
    ]
    found = union_all(*(select(part) for part in parts)).subquery("found")
    return _named(found).order_by(found.c.id.desc()).limit(limit)


def task_runs_of(project: str) -> Select[Any]:
    return select(all_task_runs).where(all_task_runs.c.project_id == project)


def same_id(column: ColumnElement[Any], text: str) -> ColumnElement[bool]:
    """What is no id is nobody's."""
    known = canonical_uuid(text)
    return false() if known is None else column == known


def _conditions(where: RunFilter) -> list[ColumnElement[bool]]:
    """Those that need nothing looked up. The bounds of the id leave the partitions of other times out."""
    found: list[ColumnElement[bool]] = []
    if where.created_after is not None:
        found += [
            all_runs.c.created_at > where.created_after,
            all_runs.c.id >= first_id(where.created_after - _IDENTITY_BEFORE),
        ]
    if where.created_before is not None:
        found += [
            all_runs.c.created_at < where.created_before,
            all_runs.c.id < first_id(where.created_before + _IDENTITY_BEFORE),
        ]
    if where.backfill is not None:
        found.append(same_id(all_runs.c.backfill_id, where.backfill))
    return found


def _named(found: FromClause) -> Select[Any]:
    return select(
        found,
        workflows.c.name.label("workflow"),
        versions.c.number.label("version"),
        triggers.c.name.label("trigger"),
        _parents.c.run_id.label("parent_run_id"),
    ).select_from(
        found.outerjoin(workflows, workflows.c.id == found.c.workflow_id)
        .outerjoin(versions, versions.c.id == found.c.version_id)
        .outerjoin(triggers, triggers.c.id == found.c.trigger_id)
        .outerjoin(_parents, _parents.c.id == found.c.parent_task_run_id)
    )
