import re
import urllib.request

from scheduler_application.ports.observing import Metrics
from scheduler_infrastructure.telemetry.metrics import MAX_LABELS, PrometheusMetrics


def value(metrics: PrometheusMetrics, sample: str) -> float | None:
    """The value of one sample, written as Prometheus writes it."""
    match = re.search(rf"^{re.escape(sample)} (\S+)$", metrics.text().decode(), re.MULTILINE)
    return float(match[1]) if match else None


def test_every_event_is_counted_where_its_question_is_asked() -> None:
    metrics = PrometheusMetrics()
    port: Metrics = metrics
    port.fired("fired", 0.004)
    port.fired("missed", 7200.0)
    port.claimed("default", 5, 0.015)
    port.attempt_ended("shell", "succeeded", 0.3)
    port.run_ended("failed", 12.0)
    port.leading(leads=True, epoch=7)
    port.worker_lost(4)
    port.published(200, failed=False)
    port.published(3, failed=True)
    port.batch("claim", 50, 0.006)

    assert value(metrics, 'orrery_fires_total{outcome="fired"}') == 1
    assert value(metrics, 'orrery_fires_total{outcome="missed"}') == 1
    assert value(metrics, 'orrery_fire_lateness_seconds_bucket{le="0.005"}') == 1
    assert value(metrics, "orrery_fire_lateness_seconds_count") == 1
    assert value(metrics, 'orrery_task_runs_claimed_total{queue="default"}') == 5
    assert value(metrics, 'orrery_queue_wait_seconds_bucket{le="0.02",queue="default"}') == 1
    assert value(metrics, 'orrery_attempts_ended_total{executor="shell",outcome="succeeded"}') == 1
    assert value(metrics, 'orrery_runs_ended_total{state="failed"}') == 1
    assert value(metrics, "orrery_run_duration_seconds_sum") == 12
    assert value(metrics, "orrery_leader") == 1
    assert value(metrics, "orrery_leader_epoch") == 7
    assert value(metrics, "orrery_workers_lost_total") == 1
    assert value(metrics, "orrery_task_runs_lost_total") == 4
    assert value(metrics, 'orrery_hints_published_total{result="confirmed"}') == 200
    assert value(metrics, 'orrery_hints_published_total{result="failed"}') == 3
    assert value(metrics, 'orrery_batch_size_sum{batch="claim"}') == 50


def test_a_leader_that_stops_leading_keeps_its_last_epoch_in_sight() -> None:
    metrics = PrometheusMetrics()
    metrics.leading(leads=True, epoch=3)
    metrics.leading(leads=False, epoch=0)
    assert value(metrics, "orrery_leader") == 0
    assert value(metrics, "orrery_leader_epoch") == 3


def test_two_processes_in_one_share_nothing() -> None:
    one, other = PrometheusMetrics(), PrometheusMetrics()
    one.run_ended("succeeded", 1.0)
    assert value(other, 'orrery_runs_ended_total{state="succeeded"}') is None


def test_made_up_queue_names_cannot_fill_the_memory() -> None:
    metrics = PrometheusMetrics()
    for number in range(MAX_LABELS + 50):
        metrics.claimed(f"queue-{number}", 1, 0.0)
    assert value(metrics, 'orrery_task_runs_claimed_total{queue="other"}') == 50


def test_every_metric_says_what_it_is_for() -> None:
    metrics = PrometheusMetrics()
    helps = re.findall(r"^# HELP (orrery_\w+) (.+)$", metrics.text().decode(), re.MULTILINE)
    assert len(helps) >= 15
    assert all(len(text) > 20 for _, text in helps)


def test_metrics_are_served_on_a_port_of_their_own() -> None:
    metrics = PrometheusMetrics()
    server = metrics.serve(0)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=5) as answer:
            assert b"orrery_leader 0.0" in answer.read()
    finally:
        server.close()
