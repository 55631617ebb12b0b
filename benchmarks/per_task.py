"""Where the time goes: processor time, statements and messages of each task, so that their sum explains the rate."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import asyncpg

from benchmarks.broker import Messages, messages
from benchmarks.exposition import Samples, growth, samples
from benchmarks.figures import ratio
from benchmarks.measure import Figures
from benchmarks.processor import GENERATOR, MACHINE, Parts, Spent, between
from benchmarks.report import columns, outline
from benchmarks.servers import server_processes
from benchmarks.stack import Stack

SETTLED_SECONDS = 11.0
"""A backend of PostgreSQL that does nothing hands its figures to the server's statistics after ten."""

STATEMENTS = 20
HINTS = "orrery_hints_published_total"
ITEMS, COMMITS = "orrery_batch_size_sum", "orrery_batch_size_count"
LABELS = {HINTS: "result", ITEMS: "batch", COMMITS: "batch"}


class Work(NamedTuple):
    """What the database has counted: by everybody who is connected to it, the benchmark too."""

    transactions: int
    rows_written: int
    rows_read: int
    log_bytes: int
    """Of the write-ahead log of the whole server."""

    def since(self, before: "Work") -> "Work":
        return Work(*(late - early for late, early in zip(self, before, strict=True)))


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything that only grows, at one moment."""

    spent: Spent
    work: Work
    messages: Messages | None
    counted: Samples


def parts_of(stack: Stack) -> Parts:
    """Its processes, and those of the servers that run on this machine."""
    return Parts(stack.processes, server_processes())


async def observe(stack: Stack, parts: Parts, spent: Spent | None = None) -> Observed:
    """``spent`` where the processor time was taken before, because the rest is known only later. Else it is looked at
    last: asking the broker how many messages it has seen takes a second of a processor."""
    work, seen, counted = await _work(stack.database), messages(), samples(await stack.metrics(), LABELS)
    return Observed(spent or parts.spent(), work, seen, counted)


async def _work(database: asyncpg.Connection) -> Work:
    row = await database.fetchrow("""
        select xact_commit + xact_rollback, tup_inserted + tup_updated + tup_deleted, tup_fetched,
            (pg_current_wal_lsn() - '0/0')::int8
        from pg_stat_database where datname = current_database()""")
    return Work(*row)


def per_task(before: Observed, after: Observed, tasks: int) -> Figures:
    """Microseconds by part with their sum, and what was done, for each of ``tasks``."""
    spent = {name: seconds / tasks * 1e6 for name, seconds in between(before.spent, after.spent).items()}
    work = after.work.since(before.work)
    machine, generator = spent.pop(MACHINE), spent.pop(GENERATOR)
    total = sum(spent.values())
    cores = os.cpu_count() or 1
    return {
        "cpu_us_per_task": {**spent, "sum": total, GENERATOR: generator, "whole_machine": machine},
        "tasks_per_second_if_all_cores_did_only_this": cores * 1e6 / (total + generator),
        "database_per_task": {name: value / tasks for name, value in work._asdict().items()},
        **_carried(before, after, tasks),
    }


def _carried(before: Observed, after: Observed, tasks: int) -> Figures:
    counted = growth(before.counted, after.counted)
    hints = sum(value for (name, _), value in counted.items() if name == HINTS)
    found: Figures = {"hints_published_per_task": hints / tasks}
    if before.messages is not None and after.messages is not None:
        sent = after.messages.since(before.messages)
        found["messages_per_task"] = {name: value / tasks for name, value in sent._asdict().items()}
        found["hints_per_message"] = ratio(hints, sent.published)
    return found | {"group_commits": _group_commits(counted, tasks)}


def _group_commits(counted: Mapping[tuple[str, str], float], tasks: int) -> Figures:
    found: Figures = {}
    for (name, batch), commits in counted.items():
        if name == COMMITS and commits:
            items = counted[ITEMS, batch]
            found[batch] = {"per_task": commits / tasks, "items_each": items / commits}
    return found


async def count_statements(database: asyncpg.Connection) -> bool:
    """Counts statements from now on; whether the server can."""
    if "pg_stat_statements" not in await database.fetchval("show shared_preload_libraries"):
        return False
    await database.execute("create extension if not exists pg_stat_statements")
    await database.execute("select pg_stat_statements_reset()")
    return True


async def dearest_statements(database: asyncpg.Connection, tasks: int) -> list[Figures]:
    """Those that took longest in all, of everybody connected to this database."""
    rows = await database.fetch(
        """select query, calls, total_exec_time, rows from pg_stat_statements
        where dbid = (select oid from pg_database where datname = current_database())
        order by total_exec_time desc limit $1""",
        STATEMENTS,
    )
    return [
        {
            "us_per_task": row["total_exec_time"] * 1000 / tasks,
            "calls_per_task": row["calls"] / tasks,
            "ms_per_call": row["total_exec_time"] / row["calls"],
            "rows_per_call": row["rows"] / row["calls"],
            "statement": " ".join(row["query"].split())[:160],
        }
        for row in rows
    ]


def table(figures: Figures) -> str:
    """The figures of one run for people, the dearest statements last."""
    shown = outline({name: value for name, value in figures.items() if name != "group_commits"})
    commits: Mapping[str, Any] = figures.get("group_commits", {})
    if commits:
        rows = [(name, found["per_task"], found["items_each"]) for name, found in commits.items()]
        shown += "\n\n" + columns(("group commits", "per task", "items each"), rows)
    statements = figures.get("statements", [])
    if statements:
        heads = ("us per task", "calls per task", "ms per call", "rows per call", "statement")
        rows = [tuple(found[head.replace(" ", "_")] for head in heads) for found in statements]
        shown += "\n\n" + columns(heads, rows)
    return shown
