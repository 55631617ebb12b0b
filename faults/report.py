"""The table for people and the line of JSON for programs."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from faults.campaign import Outcome, Verdict
from faults.fault import Fault

SHOWN_VIOLATIONS = 20


def table(outcome: Outcome) -> str:
    """A line for each fault, then every violation."""
    rows: list[tuple[str, ...]] = [("fault", "injected", "recovery", "target", "broken", "verdict")]
    rows += [_row(verdict) for verdict in outcome.verdicts]
    if outcome.recoveries:
        rows = [("killed", "times", "recovery p50", "p95", "longest")]
        rows += [_kill_row(kind, seconds) for kind, seconds in sorted(outcome.recoveries.items())]
        rows.append(_kill_row("all", [one for seconds in outcome.recoveries.values() for one in seconds]))
    broken = all_broken(outcome)
    lines = [*_aligned(rows), "", *broken[:SHOWN_VIOLATIONS]]
    if len(broken) > SHOWN_VIOLATIONS:
        lines.append(f"and {len(broken) - SHOWN_VIOLATIONS} more")
    return "\n".join(lines).rstrip()


def all_broken(outcome: Outcome) -> list[str]:
    """Every violation, in the order in which they were found."""
    return [sentence for verdict in outcome.verdicts for sentence in verdict.broken] + outcome.violations


def listing(faults: Sequence[Fault]) -> str:
    """What there is, for ``--list``."""
    rows: list[tuple[str, ...]] = [("fault", "tier", "target", "about", "title")]
    for fault in faults:
        target = "" if fault.target is None else f"{fault.target:g} s"
        rows.append((fault.id, str(fault.tier), target, " ".join(fault.sharp), fault.title))
    return "\n".join(_aligned(rows))


def json_line(outcome: Outcome, **about: Any) -> str:
    faults = [
        {
            "fault": verdict.fault.id,
            "repeat": verdict.repeat,
            "recovery_seconds": _rounded(verdict.recovery.seconds) if verdict.recovery else None,
            "target_seconds": verdict.fault.target,
            "figures": dict(verdict.recovery.figures) if verdict.recovery else {},
            "broken": len(verdict.broken),
            "not_injected": verdict.not_injected or None,
            "passed": verdict.passed,
        }
        for verdict in outcome.verdicts
    ]
    broken = all_broken(outcome)
    line = {**about, "seed": outcome.seed, "passed": outcome.passed, "violations": len(broken)}
    line |= {"by_invariant": Counter(sentence.split(":")[0] for sentence in broken), **outcome.figures}
    kills = {kind: _spread(seconds) for kind, seconds in outcome.recoveries.items()}
    return json.dumps({**line, "faults": faults} | ({"recoveries": kills} if kills else {}))


def _spread(seconds: Sequence[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {
        "times": len(ordered),
        "p50": round(ordered[len(ordered) // 2], 1),
        "p95": round(ordered[min(int(len(ordered) * 0.95), len(ordered) - 1)], 1),
        "longest": round(ordered[-1], 1),
    }


def _kill_row(kind: str, seconds: Sequence[float]) -> tuple[str, ...]:
    spread = _spread(seconds)
    return (kind, str(spread["times"]), *(f"{spread[name]:.1f} s" for name in ("p50", "p95", "longest")))


def _row(verdict: Verdict) -> tuple[str, ...]:
    recovery, fault = verdict.recovery, verdict.fault
    name = fault.id if verdict.repeat == 1 else f"{fault.id}/{verdict.repeat}"
    injected = recovery.injected if recovery else verdict.not_injected or "it could not be injected"
    seconds = "" if recovery is None or recovery.seconds is None else f"{recovery.seconds:.1f} s"
    target = "" if fault.target is None else f"{fault.target:g} s"
    return (name, injected, seconds, target, str(len(verdict.broken)), _word(verdict))


def _word(verdict: Verdict) -> str:
    if verdict.passed:
        return "passed"
    if verdict.broken:
        return "BROKEN"
    return "NOT INJECTED" if verdict.not_injected else "TOO SLOW"


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 2)
