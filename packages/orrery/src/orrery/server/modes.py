"""One process or many: which settings each mode needs, and which it could not honour."""

from orrery.cli.failures import UsageError
from scheduler_infrastructure.bootstrap.settings import Settings

_ONE_PROCESS_ONLY = {
    "broker_url": "ORRERY_BROKER_URL",
    "redis_url": "ORRERY_REDIS_URL",
    "database_direct_url": "ORRERY_DATABASE_DIRECT_URL",
}


def require_one_process(settings: Settings) -> None:
    """`orrery up` keeps everything in its own process; raises `UsageError` for settings that say otherwise."""
    hint = "for several processes use orrery migrate, api, dispatcher and worker"
    problems = [
        f"{variable} has no place in orrery up, where messages stay in the process: {hint}"
        for name, variable in _ONE_PROCESS_ONLY.items()
        if getattr(settings, name) is not None
    ]
    if settings.is_postgresql:
        problems.insert(0, f"ORRERY_DATABASE_URL must be sqlite:///… for orrery up: {hint}")
    if problems:
        raise UsageError(*problems)


def require_shared(settings: Settings, command: str) -> None:
    """Processes that work together need a store and a broker that all of them reach; raises `UsageError`."""
    problems = []
    if not settings.is_postgresql:
        problems.append(f"orrery {command} needs ORRERY_DATABASE_URL=postgresql://…: SQLite serves one process only")
    if settings.broker_url is None:
        problems.append(f"orrery {command} needs ORRERY_BROKER_URL=amqp://…: the in-process one reaches nobody else")
    if problems:
        raise UsageError(*problems, "on one machine, orrery up needs neither")
