"""Every setting: its name, type, default, unit and meaning. The documentation is made from this table.

A setting comes from the environment (``ORRERY_`` and the name in capitals) or from ``orrery.toml`` (the name as a key
at the top level); the environment wins. Start at `load_settings`; no other part of the server reads
the environment.
"""

# ruff: noqa: RUF009 - `setting()` declares a field, it is no mutable default

import os
import socket
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from scheduler_infrastructure.bootstrap import setting_values as values
from scheduler_infrastructure.bootstrap.setting_sources import FoundSettings, read_sources
from scheduler_infrastructure.bootstrap.setting_values import Network, Parser


class SettingsError(Exception):
    """Settings are wrong; ``problems`` has one plain line for each, all of them at once, no secret in any."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


def setting(
    default: Any, parse: Parser, meaning: str, *, unit: str = "", shown: str | None = None, masked: str = ""
) -> Any:
    """A field of `Settings`.

    ``shown`` is the default for people where the value does not say it. ``masked`` is ``url`` (its password is hidden)
    or ``all``. A callable ``default`` is called once per load.
    """
    metadata = {"parse": parse, "meaning": meaning, "unit": unit, "shown": shown, "masked": masked}
    if callable(default):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


def named_values(meaning: str, *, masked: str, variable: str) -> Any:
    """A mapping of names to values: a TOML table, or one environment variable for each name (``variable`` + name)."""
    metadata = {"meaning": meaning, "unit": "", "shown": "none", "masked": masked, "variable": variable}
    return field(default_factory=dict, metadata=metadata)


def _cores() -> int:
    return len(os.sched_getaffinity(0))


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Settings:
    """All settings, checked. Durations are seconds, sizes are bytes."""

    data_dir: Path = setting(
        lambda: Path("orrery-data").absolute(),
        values.path,
        "Folder for what a node keeps: the SQLite file, the admin's key, work folders of tasks.",
        shown="./orrery-data",
    )
    database_url: str = setting(
        "",
        values.database,
        "The store: postgresql://user:password@host:5432/database, or sqlite:///path (one process only).",
        shown="orrery.db in the data folder",
        masked="url",
    )
    database_direct_url: str | None = setting(
        None,
        values.database,
        "PostgreSQL without pgbouncer in between, for migrations.",
        masked="url",
    )
    database_pool_size: int = setting(
        20, values.whole(1, 500), "Connections to the store per process.", unit="connections"
    )
    database_prepared_statements: bool = setting(
        True,
        values.boolean,
        "Whether statements are prepared once per connection; false behind pgbouncer in transaction mode.",
    )
    broker_url: str | None = setting(
        None,
        values.broker,
        "The message broker: amqp://user:password@host:5672/vhost. Without it messages stay in the process.",
        shown="in-process",
        masked="url",
    )
    redis_url: str | None = setting(
        None,
        values.url("redis", "rediss"),
        "Redis for live updates between processes: redis://host:6379/0.",
        shown="in-process",
        masked="url",
    )

    url: str = setting(
        "",
        values.url("http", "https"),
        "The server that the commands and the client library talk to.",
        shown="http://127.0.0.1:8080 (the local server)",
    )
    api_key: str | None = setting(
        None,
        values.key,
        "The key that commands send; where a server makes its first admin, the key that this admin gets.",
        shown="admin.json in the data folder",
        masked="all",
    )
    project: str = setting("default", values.project, "The project that commands work in.")

    api_host: str = setting("127.0.0.1", values.text, "Address on which the API listens; 0.0.0.0 for all.")
    api_port: int = setting(8080, values.whole(1, 65535), "Port on which the API listens.")
    metrics_port: int | None = setting(
        None,
        values.whole(1, 65535),
        "Port for /metrics, /livez and /readyz; the dispatcher and the worker answer there only when it is set.",
        shown="the API's port",
    )

    worker_slots: int = setting(
        lambda: 2 * _cores(),
        values.whole(1, 1000),
        "Tasks that a worker executes at the same time.",
        unit="tasks",
        shown="2 x cores",
    )
    worker_queues: tuple[str, ...] = setting(
        ("default",), values.queues, "Queues that the worker serves, separated by commas.", shown="default"
    )
    worker_name: str = setting(
        socket.gethostname,
        values.text,
        "Name of the worker for people; its identity is new at every start.",
        shown="host name",
    )
    code_path: Path | None = setting(
        None,
        values.path,
        "Folder with the code of the workflows on a worker; tasks find it as ORRERY_SOURCE.",
        shown="none; in orrery up the folder of the deployed file",
    )
    task_python: Path | None = setting(
        None, values.path, "Interpreter for python tasks.", shown="the worker's own interpreter"
    )
    task_grace_seconds: float = setting(
        10.0, values.seconds(0.1, 600), "Pause between TERM and KILL when a task must end.", unit="s"
    )
    shutdown_grace_seconds: float = setting(
        25.0,
        values.seconds(1, 3600),
        "How long a stopping process lets its work finish before it hands it back.",
        unit="s",
    )
    worker_lease_seconds: float = setting(
        15.0, values.seconds(1, 600), "A worker that has not renewed its lease for this long is lost.", unit="s"
    )
    heartbeat_seconds: float = setting(3.0, values.seconds(0.1, 200), "How often a worker renews its lease.", unit="s")
    self_fence_seconds: float = setting(
        12.0,
        values.seconds(0.5, 600),
        "A worker that could not renew for this long ends its tasks by itself, before others may take them.",
        unit="s",
    )
    leader_lease_seconds: float = setting(
        6.0, values.seconds(1, 300), "A leader that has not renewed for this long is replaced.", unit="s"
    )
    leader_renew_seconds: float = setting(2.0, values.seconds(0.1, 100), "How often the leader renews.", unit="s")

    log_level: str = setting(
        "info", values.one_of("debug", "info", "warning", "error"), "The least severe log lines that are written."
    )
    log_format: str = setting(
        "json",
        values.one_of("json", "console"),
        "Log lines for machines or for people.",
        shown="json; console for orrery up on a terminal",
    )
    otlp_endpoint: str | None = setting(
        None, values.url("http", "https"), "Where traces go (OTLP over HTTP), e.g. http://collector:4318.", shown="off"
    )
    log_limit_bytes: int = setting(
        10 * 1024 * 1024,
        values.whole(1024, 1024**3),
        "How much of one attempt's output is kept; what follows is dropped and marked as truncated.",
        unit="bytes",
    )
    retention_runs_days: int = setting(
        30,
        values.whole(0, 36_500),
        "How long finished runs are kept, with their task runs, attempts and logs; 0: for ever.",
        unit="days",
    )
    retention_ledger_days: int = setting(
        180, values.whole(0, 36_500), "How long decided due times are kept; 0: for ever.", unit="days"
    )
    retention_alerts_days: int = setting(
        180, values.whole(0, 36_500), "How long resolved alerts are kept; 0: for ever.", unit="days"
    )
    http_allowed_networks: tuple[Network, ...] = setting(
        (),
        values.networks,
        "Private networks that http tasks and subscribed calendars may reach too, as CIDR separated by commas.",
        shown="none",
    )

    secrets: Mapping[str, str] = named_values(
        "Values for ${{ secrets.NAME }}, never shown.", masked="all", variable="ORRERY_SECRET__"
    )
    vars: Mapping[str, str] = named_values("Values for ${{ vars.NAME }}.", masked="all", variable="ORRERY_VAR__")
    connections: Mapping[str, str] = named_values(
        "Databases that tasks name as a connection: postgresql://… or sqlite:///….",
        masked="url",
        variable="ORRERY_CONNECTION__",
    )

    sources: Mapping[str, str] = field(default_factory=dict)
    """Where what is no default came from: ``environment`` or the file's name; named values as ``secrets.NAME``."""

    @property
    def is_postgresql(self) -> bool:
        return self.database_url.startswith("postgresql:")

    def __repr__(self) -> str:
        """Names only: a settings object may end up in a log line or a traceback."""
        return f"Settings(set: {', '.join(self.sources) or 'nothing'})"


def setting_fields() -> dict[str, Field[Any]]:
    """The table itself, by name."""
    return {entry.name: entry for entry in fields(Settings) if "meaning" in entry.metadata}


def load_settings(environ: Mapping[str, str], config_file: Path | None = None) -> Settings:
    """Settings from ``environ`` and from ``config_file``.

    Where no file is named, ``orrery.toml`` in the current folder is read if it is there. An empty environment
    variable counts as not set. Raises `SettingsError`.
    """
    found = read_sources(setting_fields(), environ, config_file)
    problems = found.problems
    if not problems:
        settings = _complete(found)
        problems = _contradictions(settings)
    if problems:
        raise SettingsError(problems)
    return settings


def _complete(found: FoundSettings) -> Settings:
    """Fills the defaults that follow from other settings."""
    settings = Settings(**found.values, sources=found.sources)
    if not settings.database_url:
        settings = replace(settings, database_url=f"sqlite:///{settings.data_dir / 'orrery.db'}")
    if not settings.url:
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.api_host, settings.api_host)  # noqa: S104 - this connects, it does not listen
        settings = replace(settings, url=f"http://{host}:{settings.api_port}")
    return settings


def _contradictions(settings: Settings) -> list[str]:
    """Settings that are right alone and wrong together."""
    s = settings
    checks: list[tuple[bool, str]] = [
        (
            s.worker_lease_seconds >= 3 * s.heartbeat_seconds,
            "ORRERY_WORKER_LEASE_SECONDS must be at least 3 x ORRERY_HEARTBEAT_SECONDS, or a late beat loses a worker",
        ),
        (
            s.heartbeat_seconds < s.self_fence_seconds < s.worker_lease_seconds,
            "ORRERY_SELF_FENCE_SECONDS must lie between ORRERY_HEARTBEAT_SECONDS and ORRERY_WORKER_LEASE_SECONDS",
        ),
        (
            s.leader_lease_seconds >= 3 * s.leader_renew_seconds,
            "ORRERY_LEADER_LEASE_SECONDS must be at least 3 x ORRERY_LEADER_RENEW_SECONDS",
        ),
        (
            s.shutdown_grace_seconds > s.task_grace_seconds,
            "ORRERY_SHUTDOWN_GRACE_SECONDS must be greater than ORRERY_TASK_GRACE_SECONDS, or no task can end in time",
        ),
        (
            s.metrics_port != s.api_port,
            "ORRERY_METRICS_PORT is the API's port: leave it out to have /metrics there",
        ),
        (
            s.database_direct_url is None or s.database_direct_url.startswith("postgresql") == s.is_postgresql,
            "ORRERY_DATABASE_DIRECT_URL must be the same kind of database as ORRERY_DATABASE_URL",
        ),
    ]
    return [message for holds, message in checks if not holds]
