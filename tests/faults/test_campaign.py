"""What a campaign does without a site: its order, its verdicts, its table and its line of JSON."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random

import pytest

from faults.campaign import Outcome, Verdict, campaign, in_order, redis_was_needed
from faults.catalogue import catalogue, chosen
from faults.fault import Fault, Recovery, fault
from faults.kills import WEIGHTS, draw
from faults.not_injected import NotInjected
from faults.report import json_line, listing, table
from faults.site import Site


@fault("F99", "nothing at all", tier=2, target=5.0, sharp=("I1",))
async def nothing(_site: Site, _chance: Random) -> Recovery:
    return Recovery("nothing was done", 1.0)


def _verdict(fault: Fault = nothing, seconds: float | None = 1.0, *broken: str) -> Verdict:
    return Verdict(fault, 1, Recovery("something was done", seconds), broken, 2.0)


def test_every_fault_has_a_number_a_target_or_a_reason_and_invariants() -> None:
    known = catalogue()
    assert {"F01", "F04", "F05", "F11", "F12", "F13", "F19"} <= set(known)
    for name, entry in known.items():
        assert name == entry.id
        assert entry.sharp, name
        assert 1 <= entry.tier <= 4, name


def test_a_tier_contains_those_below_it() -> None:
    names = [{entry.id for entry in chosen(tier=tier)} for tier in (1, 2, 3, 4)]
    assert names[0] <= names[1] < names[2] <= names[3]
    assert [entry.id for entry in chosen(tier=None, only=["F13", "F01"])] == ["F13", "F01"]


def test_an_unknown_fault_is_refused() -> None:
    with pytest.raises(KeyError):
        chosen(tier=None, only=["F00"])


def test_the_same_seed_gives_the_same_order() -> None:
    faults = list(catalogue().values())
    orders = [[entry.id for entry in in_order(faults, seed)] for seed in (7, 7, 8)]
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == sorted(orders[2])


def test_the_same_seed_kills_the_same() -> None:
    first, second, other = ([draw(chance, number) for number in range(50)] for chance in map(Random, (7, 7, 8)))
    assert first == second != other
    assert {drawn.kind for drawn, _ in first} == set(WEIGHTS)


def test_too_slow_is_not_passed() -> None:
    assert _verdict().passed
    assert not _verdict(nothing, 5.1).passed
    assert not _verdict(nothing, 1.0, "I1: gone").passed
    assert not Verdict(nothing, 1, None, ("it could not be injected",)).passed


def test_what_the_machine_does_not_permit_is_no_pass_and_no_violation() -> None:
    verdict = Verdict(nothing, 1, None, not_injected="nothing may be mounted here")
    assert not verdict.passed
    shown = table(Outcome(7, [verdict])).splitlines()[1]
    assert "nothing may be mounted here" in shown
    assert shown.endswith("NOT INJECTED")
    assert json.loads(json_line(Outcome(7, [verdict])))["faults"][0]["not_injected"] == "nothing may be mounted here"


async def test_a_site_that_cannot_be_made_here_hides_no_other_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    @asynccontextmanager
    async def nowhere(*_: object, **__: object) -> AsyncIterator[None]:
        raise NotInjected("nothing may be mounted here")
        yield

    monkeypatch.setattr("faults.campaign.at_work", nowhere)
    outcome = await campaign([nothing], seed=7)
    assert [verdict.not_injected for verdict in outcome.verdicts] == ["nothing may be mounted here"]
    assert not outcome.passed


def test_whatever_breaks_without_redis_breaks_the_rule_about_redis() -> None:
    assert redis_was_needed(replace(nothing, sharp=("I20",)), ()) == []
    assert redis_was_needed(nothing, ("I5: twice",)) == []
    (sentence,) = redis_was_needed(replace(nothing, sharp=("I20",)), ("I5: twice", "I1: gone", "I5: missing"))
    assert sentence.startswith("I20: ")
    assert "I1, I5" in sentence


def test_a_violation_at_the_end_fails_the_whole() -> None:
    assert Outcome(7, [_verdict()]).passed
    assert not Outcome(7, [_verdict()], ["I1: gone"]).passed


def test_the_table_says_what_was_done_and_what_is_broken() -> None:
    shown = table(Outcome(7, [_verdict(), _verdict(nothing, 6.0)], ["I1: run x is gone"]))
    header, passed, slow, *_ = shown.splitlines()
    assert header.split() == ["fault", "injected", "recovery", "target", "broken", "verdict"]
    assert passed.split()[0] == "F99"
    assert passed.endswith("passed")
    assert slow.endswith("TOO SLOW")
    assert "I1: run x is gone" in shown


def test_the_line_of_json_has_the_seed_the_figures_and_the_count() -> None:
    outcome = Outcome(7, [_verdict(nothing, 1.234)], ["I1: gone"], {"accepted": 40}, {"worker": [1.0, 3.0, 2.0]})
    line = json.loads(json_line(outcome, tier=2))
    assert (line["seed"], line["tier"], line["passed"], line["violations"]) == (7, 2, False, 1)
    assert line["accepted"] == 40
    assert line["by_invariant"] == {"I1": 1}
    assert line["faults"][0]["recovery_seconds"] == 1.23
    assert line["recoveries"]["worker"] == {"times": 3, "p50": 2.0, "p95": 3.0, "longest": 3.0}


def test_the_listing_has_a_line_for_each_fault() -> None:
    assert len(listing(list(catalogue().values())).splitlines()) == 1 + len(catalogue())
