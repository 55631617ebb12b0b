"""The checker: the table of invariants, and what of them is broken."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from faults.checks import clients, effects, fires, leaders, order, rest, runs
from faults.evidence import Evidence

Check = Callable[[Evidence], Iterator[str]]


@dataclass(frozen=True, slots=True)
class Invariant:
    """One row of the plan; each check says by itself what it can judge while the system is not at rest."""

    id: str
    title: str
    checks: tuple[Check, ...]


INVARIANTS: tuple[Invariant, ...] = (
    Invariant(
        "I1",
        "every accepted run ends in exactly one final state",
        (runs.accepted_runs_end, runs.runs_end_once, runs.counters_agree),
    ),
    Invariant("I2", "final states absorb", (runs.final_states_absorb,)),
    Invariant(
        "I3",
        "every due time has one run or one recorded reason",
        (fires.due_times_are_decided_once, fires.fired_times_have_one_run),
    ),
    Invariant("I4", "nothing starts uncalled or early", (fires.nothing_is_early,)),
    Invariant(
        "I5",
        "no effect twice, none missing",
        (effects.effects_are_had_once, effects.successes_had_their_effect, effects.executed_tasks_were_seen),
    ),
    Invariant("I6", "fences only grow, and a stale one writes nothing", (effects.fences_grow,)),
    Invariant("I7", "one leader at a time", (leaders.one_leader_per_epoch, leaders.epochs_do_not_overlap)),
    Invariant("I8", "no running task without a worker for long", (rest.no_orphan_lasts,)),
    Invariant("I9", "nothing waits beside a free slot", (rest.nothing_waits_beside_a_free_slot,)),
    Invariant("I10", "order is kept", (order.needs_come_first, order.single_runs_follow_one_another)),
    Invariant("I11", "concurrency limits hold", (effects.limits_hold,)),
    Invariant("I13", "queues are empty at rest", (rest.queues_are_empty, rest.hints_reached_a_worker)),
    Invariant("I14", "one key starts one run", (clients.keys_start_one_run,)),
    Invariant("I15", "attempts are bounded", (runs.attempts_are_bounded,)),
    Invariant("I16", "logs have no gap", (rest.logs_have_no_gap,)),
    Invariant("I17", "secrets are told nowhere", (rest.the_secret_is_told_nowhere,)),
    Invariant("I18", "nothing is left alive", (rest.nothing_is_left_alive,)),
    Invariant("I19", "answers are honest and in time", (clients.answers_are_honest,)),
)


def violations(evidence: Evidence, only: Iterable[str] = ()) -> list[str]:
    """A sentence for each thing that is wrong, of all invariants or of those named."""
    wanted = set(only)
    return [
        sentence
        for invariant in INVARIANTS
        if not wanted or invariant.id in wanted
        for check in invariant.checks
        for sentence in check(evidence)
    ]
