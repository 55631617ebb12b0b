"""Runs faults one after another on a site under load, and asks the checker after each and at the end."""

import asyncio
import random
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from random import Random

from faults import workload as workloads
from faults.checker import violations
from faults.evidence import Evidence, gather
from faults.fault import Fault, Recovery
from faults.load import Load, deploy, stop_schedules
from faults.not_injected import NotInjected
from faults.recovery import caught_up
from faults.sampler import Sampler
from faults.site import Shape, Site
from faults.workload import Workload

RATE = 6.0
"""Runs a second that the client starts; the schedules add some four."""
DRAIN_SECONDS = 60.0
"""How long nothing may end while the system comes to rest. A busy machine may take longer in all; how long it took is
a figure."""
INJECT_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one fault. ``broken`` are violations found right after it, those of the fault itself included;
    ``not_injected`` is why there was none."""

    fault: Fault
    repeat: int
    recovery: Recovery | None
    broken: Sequence[str] = ()
    seconds: float = 0.0
    not_injected: str = ""

    @property
    def in_time(self) -> bool:
        if self.recovery is None or self.recovery.seconds is None or self.fault.target is None:
            return self.recovery is not None
        return self.recovery.seconds <= self.fault.target

    @property
    def passed(self) -> bool:
        return not self.broken and not self.not_injected and self.in_time


@dataclass(slots=True)
class Outcome:
    """Of a whole campaign; ``figures`` are counts over all its sites."""

    seed: int
    verdicts: list[Verdict] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    figures: dict[str, float | int | str] = field(default_factory=dict)
    recoveries: dict[str, list[float]] = field(default_factory=dict)
    """Of random kills: seconds by kind of what was killed."""

    @property
    def passed(self) -> bool:
        return not self.violations and all(verdict.passed for verdict in self.verdicts)


@dataclass(slots=True)
class Run:
    """One site at work: what its faults and its checks share."""

    site: Site
    workload: Workload
    sampler: Sampler
    load: Load | None
    known: set[str] = field(default_factory=set)

    def fresh(self, found: Sequence[str]) -> list[str]:
        """Violations that were not told yet."""
        new = [sentence for sentence in found if sentence not in self.known]
        self.known.update(new)
        return new


async def campaign(
    faults: Sequence[Fault], *, seed: int, repeat: int = 1, rate: float = RATE, shared: Shape | None = None
) -> Outcome:
    """``faults`` in the order that ``seed`` gives, each ``repeat`` times. Those that share a site (of the shape
    ``shared``) come first."""
    outcome = Outcome(seed)
    ordered = in_order(faults, seed)
    together = [fault for fault in ordered if fault.needs is None and fault.loaded]
    groups: list[tuple[Shape | None, bool, list[Fault]]] = [(shared, True, together)] if together else []
    groups += [(fault.needs or shared, fault.loaded, [fault]) for fault in ordered if fault not in together]
    for shape, loaded, group in groups:
        try:
            async with at_work(shape, seed=seed, rate=rate if loaded else 0.0) as run:
                for fault in group:
                    for number in range(1, repeat + 1):
                        outcome.verdicts.append(await _inject(run, fault, number, seed))
                evidence = await come_to_rest(run)
                outcome.violations += run.fresh(await judged(evidence))
                add_figures(outcome, evidence)
                keep_if_broken(run.site, outcome)
        except NotInjected as reason:  # There is no site of this shape on this machine.
            outcome.verdicts += [Verdict(fault, 1, None, not_injected=str(reason)) for fault in group]
    return outcome


def in_order(faults: Sequence[Fault], seed: int) -> list[Fault]:
    """``faults`` in the order that ``seed`` gives."""
    ordered = list(faults)
    Random(f"order {seed}").shuffle(ordered)
    return ordered


@asynccontextmanager
async def at_work(shape: Shape | None, *, seed: int, rate: float) -> AsyncIterator[Run]:
    """A site with the usual work deployed and, where ``rate`` is not 0, a client that starts runs."""
    workload = workloads.usual()
    async with Site(shape) as site:
        await deploy(site, workload)
        lease = float(str(site.shape.settings.get("WORKER_LEASE_SECONDS", 15.0)))
        async with Sampler(site, worker_lease=lease) as sampler:
            run = Run(site, workload, sampler, None)
            if not rate:
                yield run
                return
            async with Load(site, workload, rate=rate, seed=seed) as run.load:
                yield run


async def come_to_rest(run: Run) -> Evidence:
    """Stops the load and the schedules, lets everything end, and gathers what is to be judged."""
    site = run.site
    await site.whole()
    if run.load is not None:
        await run.load.stop()
    stopped = await _now(site)
    await caught_up(site, stopped.timestamp())
    await stop_schedules(site, run.workload)
    seconds = await _drained(site)
    return await gather(
        site, run.workload, run.sampler, drained=True, schedules_stopped_at=stopped, drain_seconds=seconds
    )


async def judged(evidence: Evidence) -> list[str]:
    """`violations`, in a thread: the client goes on meanwhile."""
    return await asyncio.to_thread(violations, evidence)


def keep_if_broken(site: Site, outcome: Outcome) -> None:
    if not outcome.passed:
        site.kept = True
        say(f"logs, journal and effects are kept in {site.folder}")


def add_figures(outcome: Outcome, evidence: Evidence) -> None:
    """Adds the counts of one site to those of the campaign."""
    counted = {
        "accepted": len({exchange.run_id for exchange in evidence.journal if exchange.run_id}),
        "requests": len(evidence.journal),
        "runs": len(evidence.runs),
        "task_runs": len(evidence.task_runs),
        "effects": sum(effect.kind == "effect" and effect.accepted for effect in evidence.effects),
        "repeated_effects": _repeated(evidence),
        "refused_effects": sum(not effect.accepted for effect in evidence.effects),
        "due_times": len(evidence.ledger),
        "worker_losses": sum(task["worker_losses"] for task in evidence.task_runs),
        "epochs": max((change["fence"] for change in evidence.changes if change["of"] == "leadership"), default=0),
    }
    for name, count in counted.items():
        outcome.figures[name] = int(outcome.figures.get(name, 0)) + count
    outcome.figures["drain_seconds"] = max(
        float(outcome.figures.get("drain_seconds", 0)), round(evidence.drain_seconds)
    )
    late = sorted((row["decided_at"] - row["due_at"]).total_seconds() for row in evidence.ledger)
    if late:
        places = {"p50": len(late) // 2, "p99": int(len(late) * 0.99), "longest": len(late) - 1}
        outcome.figures |= {f"lateness_{name}_seconds": round(late[place], 2) for name, place in places.items()}


def _repeated(evidence: Evidence) -> int:
    """Effects that were had again under a later fence: what 'at least once' costs."""
    places = [(e.run_id, e.task, e.item) for e in evidence.effects if e.kind == "effect" and e.accepted]
    return len(places) - len(set(places))


async def _inject(run: Run, fault: Fault, number: int, seed: int) -> Verdict:
    """One fault, its recovery and the check after it."""
    started = time.monotonic()
    say(f"{fault.id} {fault.title}" + (f" ({number})" if number > 1 else ""))
    broken: list[str] = []
    recovery: Recovery | None = None
    not_injected = ""
    try:
        async with asyncio.timeout(INJECT_SECONDS):
            recovery = await fault.inject(run.site, random.Random(f"{fault.id} {number} {seed}"))
        broken += recovery.violations
    except NotInjected as reason:
        not_injected = str(reason)
    except Exception as error:  # noqa: BLE001 - one fault that cannot be injected must not hide the others
        broken.append(f"{fault.id}: {type(error).__name__}: {error}")
    try:
        await run.site.whole()
        await caught_up(run.site, time.time())
        broken += run.fresh(await judged(await gather(run.site, run.workload, run.sampler)))
    except Exception as error:  # noqa: BLE001
        broken.append(f"{fault.id}: the site was not whole again: {type(error).__name__}: {error}")
    broken += redis_was_needed(fault, broken)
    return Verdict(fault, number, recovery, broken, time.monotonic() - started, not_injected)


def redis_was_needed(fault: Fault, broken: Sequence[str]) -> list[str]:
    """I20. Of a fault that takes from Redis what it holds: everything else must be as it was."""
    if "I20" not in fault.sharp or not broken:
        return []
    others = sorted({sentence.split(":")[0] for sentence in broken})
    return [f"I20: without what Redis held, {', '.join(others)} did not hold"]


async def _now(site: Site) -> datetime:
    rows = await site.rows_when_back("select clock_timestamp() as now")
    moment: datetime = rows[0]["now"]
    return moment


async def _drained(site: Site) -> float:
    """Until every run has ended, in seconds; or until nothing has ended for a while: then the checker says what has
    not."""
    started = moved = time.monotonic()
    left = -1
    while time.monotonic() - moved < DRAIN_SECONDS:
        rows = await site.rows_when_back("select count(*) as open from runs where finished_at is null")
        if not rows[0]["open"] and not any((await asyncio.to_thread(site.queues)).values()):
            break
        if rows[0]["open"] != left:
            left, moved = rows[0]["open"], time.monotonic()
        await asyncio.sleep(0.5)
    return time.monotonic() - started


def say(line: str) -> None:
    """Progress goes to standard error: standard output has the table and the line of JSON."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {line}\n")
    sys.stderr.flush()
