"""The metrics of a process, each with the question it answers. The registry is our own, so that two apps in one process
(tests, the embedded mode) never share a counter."""

from threading import Thread
from typing import Any, TypeVar
from wsgiref.simple_server import WSGIServer

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    ProcessCollector,
    generate_latest,
    start_http_server,
)

M = TypeVar("M", Counter, Histogram)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

MAX_LABELS = 200
"""Distinct values of one label that a user can make up (queues, executors); what comes later counts as ``other``."""

# From one millisecond, the aim for a task's start, to the minute that wakes somebody up.
_WAITS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
# From a no-op to the longest timeout that is usual.
_DURATIONS = (0.005, 0.02, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14400, 86400)
# A transaction: its deadline is 5 s.
_TRANSACTIONS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


class PrometheusMetrics:
    """`scheduler_application.ports.observing.Metrics`, in the text format that Prometheus scrapes."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._labels: dict[str, set[str]] = {}
        self._known_series: dict[tuple[object, tuple[str, ...]], Any] = {}
        # Memory, descriptors and collections: a slope in these is the first sign of a leak.
        ProcessCollector(registry=registry)
        GCCollector(registry=registry)
        self._fires = Counter(
            "orrery_fires",
            "Due times decided, by outcome. Missed ones growing: nobody led, or the policy is skip.",
            ["outcome"],
            registry=registry,
        )
        self._lateness = Histogram(
            "orrery_fire_lateness_seconds",
            "From the due time to the committed run. The promise to whoever wrote a cron line.",
            buckets=_WAITS,
            registry=registry,
        )
        self._claims = Counter(
            "orrery_task_runs_claimed", "Task runs that workers took, by queue.", ["queue"], registry=registry
        )
        self._queue_wait = Histogram(
            "orrery_queue_wait_seconds",
            "From ready to claimed, the longest of each claim. Growing: too few workers serve the queue.",
            ["queue"],
            buckets=_WAITS,
            registry=registry,
        )
        self._attempts = Counter(
            "orrery_attempts_ended", "Attempts by executor and outcome.", ["executor", "outcome"], registry=registry
        )
        self._attempt_seconds = Histogram(
            "orrery_attempt_duration_seconds",
            "How long attempts executed. What the slots of the workers are spent on.",
            ["executor"],
            buckets=_DURATIONS,
            registry=registry,
        )
        self._runs = Counter(
            "orrery_runs_ended", "Runs that reached a terminal state, by state.", ["state"], registry=registry
        )
        self._run_seconds = Histogram(
            "orrery_run_duration_seconds",
            "From the run's start to its terminal state.",
            buckets=_DURATIONS,
            registry=registry,
        )
        self._leader = Gauge(
            "orrery_leader",
            "1 where this process leads. The sum over all dispatchers must be 1; 0 for long: nothing fires.",
            registry=registry,
        )
        self._epoch = Gauge(
            "orrery_leader_epoch",
            "The last epoch that this process led. Growing fast: leaders come and go.",
            registry=registry,
        )
        self._workers_lost = Counter(
            "orrery_workers_lost", "Workers whose heartbeat ended without a goodbye.", registry=registry
        )
        self._task_runs_lost = Counter(
            "orrery_task_runs_lost", "Task runs taken over from lost workers.", registry=registry
        )
        self._put_aside = Counter(
            "orrery_rows_put_aside",
            "Rows that cannot be read any more, by kind: a run of it fails, a trigger of it rests until a deploy.",
            ["kind"],
            registry=registry,
        )
        self._clock_steps = Counter(
            "orrery_clock_steps",
            "Steps of the database's clock of more than 5 s. Any: a clock that is set back holds up every schedule.",
            registry=registry,
        )
        self._hints = Counter(
            "orrery_hints_published",
            "Hints handed to the broker. Failures cost latency, not runs: the sweep publishes them again.",
            ["result"],
            registry=registry,
        )
        self._alerts = Counter(
            "orrery_alerts_raised",
            "Alerts, by kind. A deadline was missed, or something that was missed is back.",
            ["kind"],
            registry=registry,
        )
        self._pruned = Counter(
            "orrery_history_pruned",
            "Rows deleted because their time was over, moved_runs out of the way, partitions dropped whole. Standing"
            " still for days: history grows.",
            ["what"],
            registry=registry,
        )
        self._batch_size = Histogram(
            "orrery_batch_size",
            "Items of a group commit. Always 1 under load: batching does not work.",
            ["batch"],
            buckets=_SIZES,
            registry=registry,
        )
        self._batch_seconds = Histogram(
            "orrery_batch_duration_seconds",
            "How long a group commit took. The store's pulse.",
            ["batch"],
            buckets=_TRANSACTIONS,
            registry=registry,
        )

    def fired(self, outcome: str, lateness_seconds: float) -> None:
        self._fires.labels(outcome).inc()
        if outcome == "fired":
            self._lateness.observe(lateness_seconds)

    def claimed(self, queue: str, count: int, waited_seconds: float) -> None:
        label = self._bounded("queue", queue)
        self._claims.labels(label).inc(max(0, count))
        self._queue_wait.labels(label).observe(waited_seconds)

    def attempt_ended(self, executor: str, outcome: str, seconds: float) -> None:
        label = self._bounded("executor", executor)
        self._series(self._attempts, label, outcome).inc()
        self._series(self._attempt_seconds, label).observe(seconds)

    def run_ended(self, state: str, seconds: float) -> None:
        self._series(self._runs, state).inc()
        self._run_seconds.observe(seconds)

    def leading(self, leads: bool, epoch: int) -> None:
        self._leader.set(1 if leads else 0)
        if leads:
            self._epoch.set(epoch)

    def worker_lost(self, task_runs: int) -> None:
        self._workers_lost.inc()
        self._task_runs_lost.inc(max(0, task_runs))

    def put_aside(self, kind: str, count: int) -> None:
        self._put_aside.labels(kind).inc(max(0, count))

    def clock_stepped(self) -> None:
        self._clock_steps.inc()

    def published(self, hints: int, failed: bool) -> None:
        self._hints.labels("failed" if failed else "confirmed").inc(max(0, hints))

    def alert_raised(self, kind: str) -> None:
        self._alerts.labels(kind).inc()

    def pruned(self, what: str, count: int) -> None:
        self._pruned.labels(what).inc(max(0, count))

    def batch(self, name: str, size: int, seconds: float) -> None:
        self._batch_size.labels(name).observe(size)
        self._batch_seconds.labels(name).observe(seconds)

    def text(self) -> bytes:
        """Everything, as `CONTENT_TYPE`."""
        return generate_latest(self._registry)

    def serve(self, port: int, host: str = "127.0.0.1") -> "MetricsServer":
        """Serves `text` on a port of its own, where the API's port is public; ``port`` 0 takes a free one."""
        return MetricsServer(*start_http_server(port, addr=host, registry=self._registry))

    def _series(self, metric: M, *labels: str) -> M:
        """One series of ``metric``. Looking it up in the client library costs more than counting in it."""
        known: M | None = self._known_series.get((metric, labels))
        if known is None:
            known = self._known_series[metric, labels] = metric.labels(*labels)
        return known

    def _bounded(self, label: str, value: str) -> str:
        known = self._labels.setdefault(label, set())
        if value not in known:
            if len(known) >= MAX_LABELS:
                return "other"
            known.add(value)
        return value


class MetricsServer:
    """A thread that answers scrapes until it is closed."""

    def __init__(self, server: WSGIServer, thread: Thread) -> None:
        self._server = server
        self._thread = thread
        self.port: int = server.server_port

    def close(self) -> None:
        """Returns within 2 s, also while a scraper holds its connection."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(2.0)
