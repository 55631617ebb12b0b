"""Starting a server: up, api, dispatcher, worker, migrate; looking at one: config, check.

What a mode cannot honour is refused before the server is imported, which takes a second.
"""

from orrery.cli.failures import FAILED, OK
from orrery.cli.session import Flag, Here


def up(*, demo: Flag = False, session: Here) -> int:
    """Starts everything in one process: the API, a dispatcher and a worker on SQLite, with nothing else to install.

    Parameters
    ----------
    demo
        Deploy example workflows, two of which the clock starts at once.
    """
    from orrery.server.modes import require_one_process

    require_one_process(session.settings)
    from orrery.server.up import up as start

    return start(session.settings, demo=demo, say=session.announce)


def api(*, session: Here) -> int:
    """Starts an API server; any number may run."""
    from orrery.server.modes import require_shared

    require_shared(session.settings, "api")
    from orrery.server.api import serve_api

    return serve_api(session.settings, say=session.announce)


def dispatcher(*, session: Here) -> int:
    """Starts a dispatcher, which fires, relays and recovers; several may run, one leads."""
    from orrery.server.modes import require_shared

    require_shared(session.settings, "dispatcher")
    from orrery.server.dispatcher import run_dispatcher

    return run_dispatcher(session.settings)


def worker(*, session: Here) -> int:
    """Starts a worker, which executes tasks; any number may run."""
    from orrery.server.modes import require_shared

    require_shared(session.settings, "worker")
    from orrery.server.worker import run_worker

    return run_worker(session.settings)


def migrate(*, session: Here) -> int:
    """Brings the database to this version's schema, and makes the first admin where there is none."""
    from orrery.server.migrate import migrate_store

    return migrate_store(session.settings, say=session.announce)


def config(*, json: Flag = False, session: Here) -> None:
    """Prints every setting: its value (secrets masked), where it came from and what it means.

    Parameters
    ----------
    json
        Print JSON.
    """
    from orrery.server.config import setting_records

    records = setting_records(session.settings)
    if json:
        return session.out.json({"items": records})
    columns = ("name", "value", "source", "meaning")
    session.out.table(columns, [[record[column] for column in columns] for record in records])


def check(*, json: Flag = False, session: Here) -> int:
    """Tries everything that this configuration depends on, and says in one line each what is wrong.

    Parameters
    ----------
    json
        Print JSON.
    """
    from orrery.server.check import check_dependencies

    results = check_dependencies(session.settings)
    if json:
        session.out.json({"items": [{"name": r.name, "ok": r.ok, "detail": r.detail} for r in results]})
    else:
        for result in results:
            session.out.line(f"{'ok' if result.ok else 'FAILED':<6}  {result.name}: {result.detail}")
    return OK if all(result.ok for result in results) else FAILED
