"""How peers are compared; none is installed here."""

from benchmarks.measures.peers import multiples


def test_orrery_is_told_as_a_multiple_of_what_both_have() -> None:
    ours = {"per_second": 3000.0, "cpu_us_per_task": 500.0, "latency_ms": {"p50": 4.0}, "chain_seconds": 0.1}
    theirs = {"per_second": 1000.0, "cpu_us_per_task": 1000.0, "latency_ms": {"p50": 2.0}}
    assert multiples({"celery": theirs, "orrery": ours}) == {
        "celery": {"per_second": 3.0, "cpu_us_per_task": 0.5, "latency_p50": 2.0}
    }
