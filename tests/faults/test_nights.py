"""The fault of clock changes sees a due time that is missing, one too many, and one that is there twice."""

from datetime import UTC, datetime, timedelta

from faults.clock_faults import VECTORS, wrong_nights

Ledger = list[tuple[str, datetime, str]]


def exact() -> Ledger:
    return [
        (f"night-{place}", datetime.fromisoformat(text).replace(tzinfo=UTC), "fired")
        for place, texts in enumerate(VECTORS.values())
        for text in texts
    ]


def judged(ledger: Ledger) -> tuple[str, ...]:
    found: dict[str, set[datetime]] = {}
    for workflow, due, _ in ledger:
        found.setdefault(workflow, set()).add(due)
    return wrong_nights(found, ledger)


def test_exactly_the_vectors_are_right() -> None:
    assert judged(exact()) == ()


def test_a_due_time_that_is_missing_is_told() -> None:
    assert len(judged(exact()[1:])) == 1


def test_a_second_fire_in_the_hour_that_comes_twice_is_told() -> None:
    second = ("night-1", datetime(2026, 10, 25, 0, 15, tzinfo=UTC), "fired")
    assert len(judged([*exact(), second])) == 1


def test_a_due_time_that_is_there_twice_is_told() -> None:
    assert len(judged([*exact(), exact()[0]])) == 1


def test_the_vectors_are_what_the_zones_say() -> None:
    """`30 2 * * *` in Berlin, by the standard library alone."""
    berlin = [datetime.fromisoformat(text).replace(tzinfo=UTC) for text in VECTORS["Europe/Berlin", "30 2 * * *"]]
    assert berlin[1] - berlin[0] == timedelta(hours=23, minutes=30)
    assert berlin[4] - berlin[3] == timedelta(hours=24)
