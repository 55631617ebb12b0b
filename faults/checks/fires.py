"""I3, I4: every due time has exactly one decision, and one run where it fired; nothing fires early or uncalled."""

import re
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta

from faults.evidence import Evidence, Row
from faults.oracle import cron_times, interval_times

SETTLED = timedelta(seconds=15)
"""While the system is being broken, younger due times may be undecided."""
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def due_times_are_decided_once(evidence: Evidence) -> Iterator[str]:
    """I3. The oracle's due times and the ledger's are the same."""
    until = evidence.schedules_stopped_at or evidence.now - SETTLED
    for trigger in evidence.triggers:
        expected = expected_times(trigger, until)
        if expected is None:
            continue
        decided = Counter(row["due_at"] for row in evidence.ledger if row["trigger_id"] == trigger["id"])
        name = f"{trigger['workflow']}/{trigger['name']}"
        for due in expected:
            if decided[due] != 1:
                yield f"I3: {due.isoformat()} of {name} has {decided[due]} rows in the ledger"
        known = set(expected)
        for due in decided:
            if due not in known and due <= until:
                yield f"I4: {due.isoformat()} of {name} is in the ledger and is no due time"


def fired_times_have_one_run(evidence: Evidence) -> Iterator[str]:
    """I3. A row that says fired names the one run of its due time; a row that says otherwise has none."""
    runs = Counter((run["trigger_id"], run["due_at"]) for run in evidence.runs if run["due_at"] is not None)
    by_id = {run["id"]: run for run in evidence.runs}
    for row in evidence.ledger:
        place = (row["trigger_id"], row["due_at"])
        count = runs.pop(place, 0)
        wanted = 1 if row["outcome"] == "fired" else 0
        if count != wanted:
            yield f"I3: {place[1].isoformat()} of trigger {place[0]} is {row['outcome']} and has {count} runs"
        elif wanted and (by_id.get(row["run_id"]) or {}).get("due_at") != row["due_at"]:
            yield f"I3: {place[1].isoformat()} of trigger {place[0]} names run {row['run_id']}, which is not its own"
    for (trigger, due), count in runs.items():
        yield f"I4: {due.isoformat()} of trigger {trigger} has {count} runs and no row in the ledger"


def nothing_is_early(evidence: Evidence) -> Iterator[str]:
    """I4. By the database's clock, which decides what is due."""
    for row in evidence.ledger:
        if row["decided_at"] < row["due_at"]:
            yield f"I4: {row['due_at'].isoformat()} of trigger {row['trigger_id']} was decided at {row['decided_at']}"
    for run in evidence.runs:
        if run["due_at"] is not None and run["started_at"] is not None and run["started_at"] < run["due_at"]:
            yield f"I4: run {run['id']} started at {run['started_at']}, before it was due at {run['due_at']}"


def expected_times(trigger: Row, until: datetime) -> list[datetime] | None:
    """What the oracle says of a trigger since its deploy; ``None`` for kinds that it does not know."""
    anchor = trigger["anchor_at"]
    if trigger["kind"] == "at":
        due = datetime.fromisoformat(trigger["expression"])
        return [due] if anchor < due <= until else []
    if trigger["kind"] == "every":
        return interval_times(anchor, _duration(trigger["expression"]), anchor, until)
    if trigger["kind"] == "schedule":
        try:
            return cron_times(trigger["expression"], trigger["timezone"], anchor, until)
        except ValueError:
            return None
    return None


def _duration(text: str) -> timedelta:
    """``90s``, ``1h30m``, or a bare number of seconds."""
    if re.fullmatch(r"[0-9.]+", text):
        return timedelta(seconds=float(text))
    return timedelta(seconds=sum(int(count) * _UNITS[unit] for count, unit in re.findall(r"(\d+)([smhd])", text)))
