"""A witness inside the database: triggers, put there from outside, write down every change of state.

The product neither knows nor needs them. They survive whatever happens to the product's processes, and they see what
the rows do not keep: a final state that was left, a fence that fell, who led when.
"""

import asyncpg

_TABLES = {
    "runs": ("id", "null::integer", "state"),
    "task_runs": ("id", "claim_no", "state"),
    "leadership": ("name", "epoch::integer", "holder"),
}
"""Of each table: what names the row, its fence, and what is watched beside it."""

_SCHEMA = """
create schema if not exists witness;
create table if not exists witness.changes (
    id bigserial primary key, of text not null, key text not null, fence_before bigint, fence bigint,
    before text, after text, at timestamptz not null default clock_timestamp(), xact xid not null default
    pg_current_xact_id()::xid);
create index if not exists leaders on witness.changes (at) where of = 'leadership';
"""


def _watch(table: str) -> str:
    key, fence, state = _TABLES[table]
    cast = fence.replace("null::integer", "null")
    old, new = (cast if cast == "null" else f"{row}.{fence}" for row in ("old", "new"))
    return f"""
        create or replace function witness.{table}_changed() returns trigger language plpgsql as $$
        begin
            if tg_op = 'INSERT' then
                insert into witness.changes (of, key, fence, after)
                values ('{table}', new.{key}::text, {new}, new.{state}::text);
            elsif old.{state} is distinct from new.{state} or {old} is distinct from {new} then
                insert into witness.changes (of, key, fence_before, fence, before, after)
                values ('{table}', new.{key}::text, {old}, {new}, old.{state}::text, new.{state}::text);
            end if;
            return null;
        end $$;
        create or replace trigger witnessed after insert or update on {table}
        for each row execute function witness.{table}_changed();"""  # noqa: S608 - names of this file


async def install(url: str) -> None:
    """Watches the migrated database at ``url``; may be called again."""
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            await connection.execute(_SCHEMA)
            for table in _TABLES:
                await connection.execute(_watch(table))
    finally:
        await connection.close()
