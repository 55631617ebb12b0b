"""The statements of `history`."""

from scheduler_application.ports.rows import LockedRun, SettledTask
from scheduler_domain.run.states import FINAL_RUN_STATES
from scheduler_infrastructure.persistence.engine import Statement, both

_STATES = ", ".join(f"'{state}'" for state in sorted(FINAL_RUN_STATES))

# A backfill's due time has at most one run because the live table says so: its runs stay there until it is over.
SETTLED = Statement(
    postgres="""
        select r.id from runs r
        where r.id > $1 and r.id < $2 and r.finished_at < $3 and r.finished_at - r.created_at <= $4
            and not exists (select from backfills b where b.id = r.backfill_id and b.finished_at is null)
        order by r.id limit $5 for update of r skip locked""",
    sqlite="",
)

# As in `runs`, the columns of the history tables have the order of the live ones.
MOVE_RUNS = Statement(
    postgres="""
        with gone as (delete from runs where id = any($1::uuid[]) returning *)
        insert into run_history select * from gone""",
    sqlite="",
)

MOVE_TASK_RUNS = Statement(
    postgres="""
        with gone as (delete from task_runs where run_id = any($1::uuid[]) returning *),
            kept as (insert into task_run_history select * from gone returning 1)
        select count(*)::int as number from kept""",
    sqlite="",
)

TASK_RUNS_OF = Statement(
    postgres="""
        select run_id, count(*)::int as number from task_runs where run_id = any($1::uuid[]) group by run_id""",
    sqlite="""
        select run_id, count(*) as number from task_runs
        where run_id in (select value from json_each($1)) group by run_id""",
)

# What a deadline asks about is whether a run ended in a state, or began, since the one before it: the newest of each
# is kept, however old.
_IS_NEWEST = """
    not exists (select 1 from all_runs n where n.workflow_id = r.workflow_id and n.state = r.state
        and n.finished_at is not null and n.finished_at > r.finished_at)
    or (r.started_at is not null and not exists (select 1 from all_runs n where n.workflow_id = r.workflow_id
        and n.started_at is not null and n.started_at > r.started_at))"""
_HAS_DEADLINE = (
    "exists (select 1 from expectations e where e.workflow_id = r.workflow_id and e.active and e.next_at is not null)"
)
_IS_OVER = f"""
    select r.id from runs r
    where r.id > $1 and r.id < $2 and r.finished_at < $3
        and not exists (select 1 from backfills b where b.id = r.backfill_id and b.finished_at is null)
        and not ({_HAS_DEADLINE} and ({_IS_NEWEST}))
    order by r.id limit $4"""  # noqa: S608 - texts are ours

OVER = Statement(postgres=f"{_IS_OVER} for update of r skip locked", sqlite=_IS_OVER)

_IDS = Statement(postgres="any($1::uuid[])", sqlite="(select value from json_each($1))")

DELETE_RUNS = Statement(
    postgres=f"delete from runs where id = {_IDS.postgres}",  # noqa: S608 - ours
    sqlite=f"delete from runs where id in {_IDS.sqlite}",  # noqa: S608 - ours
)
DELETE_TASK_RUNS = Statement(
    postgres=f"delete from task_runs where run_id = {_IDS.postgres} returning 1 as gone",  # noqa: S608 - ours
    sqlite=f"delete from task_runs where run_id in {_IDS.sqlite} returning 1 as gone",  # noqa: S608 - ours
)
DELETE_ATTEMPTS = Statement(
    postgres=f"""
        delete from attempts a using task_runs t
        where a.task_run_id = t.id and t.run_id = {_IDS.postgres}""",  # noqa: S608 - ours
    sqlite=f"""
        delete from attempts where task_run_id in (
            select id from task_runs where run_id in {_IDS.sqlite})""",  # noqa: S608 - ours
)
DELETE_LOGS = Statement(
    postgres=f"delete from log_chunks where run_id = {_IDS.postgres}",  # noqa: S608 - ours
    sqlite=f"delete from log_chunks where run_id in {_IDS.sqlite}",  # noqa: S608 - ours
)

# Runs from before $1 whose attempts and logs are still wanted: open ones, and those that took long.
LOGS_ARE_NEEDED = Statement(
    postgres="select 1 as needed from runs where id < $1 and (finished_at is null or finished_at >= $2) limit 1",
    sqlite="",
)

KEEP_FOR_DEADLINES = f"""
    insert into runs
    select r.* from (
        select distinct on (id) f.* from (
            select distinct workflow_id from expectations where active and next_at is not null) e
        cross join lateral (
            (select w.* from unnest(array[{_STATES}]) as s (state) cross join lateral (
                select p.* from {{partition}} p where p.workflow_id = e.workflow_id and p.state = s.state
                order by p.finished_at desc limit 1) w)
            union all
            (select p.* from {{partition}} p where p.workflow_id = e.workflow_id and p.started_at is not null
                order by p.started_at desc limit 1)
        ) f
    ) r where {_IS_NEWEST}
    on conflict do nothing"""  # noqa: S608 - texts are ours
"""Into ``runs`` goes the newest of a partition, where no newer one is elsewhere."""

LEDGER_IS_NEEDED = """
    select 1 as needed from {partition} where decided_at >= $1
    union all
    select 1 from backfills where finished_at is null and from_at < $2 limit 1"""

DELETE_LEDGER = Statement(
    postgres="""
        delete from ledger_rest where ctid = any(array(
            select ctid from ledger_rest where due_at < $1 and decided_at < $1 limit $2)) returning 1 as gone""",
    sqlite="""
        delete from ledger where (trigger_id, due_at) in (
            select l.trigger_id, l.due_at from projects p join ledger l on l.project_id = p.id
            where l.due_at < $1 and l.decided_at < $1
                and not exists (select 1 from backfills b where b.finished_at is null and b.from_at <= l.due_at)
            limit $2)
        returning 1 as gone""",
)

DELETE_ALERTS = both(
    """
    delete from alerts where id in (
        select id from alerts where id < $3 and resolved_at is not null and resolved_at < $1 order by id limit $2)
    returning 1 as gone"""
)

DELETE_KEYS = Statement(
    postgres="""
        delete from idempotency_keys where ctid = any(array(
            select ctid from idempotency_keys where created_at < $1 order by created_at limit $2
            for update skip locked))
        returning 1 as gone""",
    sqlite="""
        delete from idempotency_keys where rowid in (
            select rowid from idempotency_keys where created_at < $1 order by created_at limit $2)
        returning 1 as gone""",
)

IN_REST = Statement(
    postgres="""
        select (select count(*) from (select from attempts_rest limit 1000) a)
            + (select count(*) from (select from log_chunks_rest limit 1000) l) as number""",
    sqlite="",
)

_FORMER_COLUMNS = ", ".join(LockedRun._fields)
_RESULT_COLUMNS = ", ".join(SettledTask._fields)

FORMER = both(f"select {_FORMER_COLUMNS} from all_runs where id = $1")  # noqa: S608 - ours
FORMER_RESULTS = both(f"select {_RESULT_COLUMNS} from all_task_runs where run_id = $1 and item_index = -1")  # noqa: S608
