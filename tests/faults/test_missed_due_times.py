"""The fault in which nobody dispatches sees a policy that was not honoured, and a due time that was not recorded."""

from typing import Any

from faults.dispatcher_faults import FIRED, MISSED_EACH, SCHEDULES, wrongly_decided

Row = dict[str, Any]


def exact() -> list[Row]:
    """What the policies make of what every schedule missed."""
    return [
        {
            "trigger": f"{policy}-{number}",
            "name": f"{policy}-{number}",
            "outcome": "fired" if place >= MISSED_EACH - FIRED[policy] else "missed",
            "rule": f"misfire:{policy}",
        }
        for policy, count in SCHEDULES.items()
        for number in range(count)
        for place in range(MISSED_EACH)
    ]


def of(policy: str, rows: list[Row]) -> list[Row]:
    return [row for row in rows if row["name"] == f"{policy}-0"]


def test_ten_thousand_due_times_are_missed() -> None:
    assert len(exact()) == 10_000


def test_what_the_policies_say_is_right() -> None:
    assert wrongly_decided(exact()) == []


def test_a_due_time_without_a_decision_is_told() -> None:
    rows = exact()
    rows.remove(of("skip", rows)[3])
    assert len(wrongly_decided(rows)) == 1


def test_a_schedule_without_any_decision_is_told() -> None:
    rows = [row for row in exact() if row["name"] != "fire_once-0"]
    assert wrongly_decided(rows) == ["I3: 15 of 16 schedules with fire_once have decisions"]


def test_a_due_time_that_fires_against_the_policy_is_told() -> None:
    rows = exact()
    of("skip", rows)[-1]["outcome"] = "fired"
    of("fire_once", rows)[0]["outcome"] = "fired"
    assert len(wrongly_decided(rows)) == 2


def test_another_than_the_latest_that_fires_is_told() -> None:
    rows = exact()
    once = of("fire_once", rows)
    once[-1]["outcome"], once[-2]["outcome"] = "missed", "fired"
    assert len(wrongly_decided(rows)) == 1


def test_a_decision_by_another_rule_is_told() -> None:
    rows = exact()
    of("fire_all", rows)[5]["rule"] = "max_lateness"
    assert len(wrongly_decided(rows)) == 1
