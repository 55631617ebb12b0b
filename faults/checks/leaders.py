"""I7: one leader for each epoch, and epochs follow one another in the order of commits."""

from collections import defaultdict
from collections.abc import Iterator

from faults.evidence import Evidence


def one_leader_per_epoch(evidence: Evidence) -> Iterator[str]:
    """The witness saw who took which epoch."""
    holders: dict[int, set[str]] = defaultdict(set)
    for change in evidence.changes:
        if change["of"] == "leadership":
            holders[change["fence"]].add(change["after"])
    for epoch, names in sorted(holders.items()):
        if len(names) > 1:
            yield f"I7: epoch {epoch} was held by {sorted(names)}"


def epochs_do_not_overlap(evidence: Evidence) -> Iterator[str]:
    """In the order of their commits, decisions have epochs that never fall; none commits after its epoch was taken."""
    rows = [row for row in evidence.ledger if row["committed_at"] is not None]
    taken = {
        change["fence"]: change["committed_at"]
        for change in evidence.changes
        if change["of"] == "leadership" and change["committed_at"] is not None
    }
    latest = 0
    for row in sorted(rows, key=lambda row: row["committed_at"]):
        what = f"{row['due_at'].isoformat()} of trigger {row['trigger_id']}"
        if row["epoch"] < latest:
            yield f"I7: {what} was decided in epoch {row['epoch']} and committed after epoch {latest} decided"
        latest = max(latest, row["epoch"])
        later = [at for epoch, at in taken.items() if epoch > row["epoch"]]
        if later and row["committed_at"] > min(later):
            yield f"I7: {what} was committed by epoch {row['epoch']} after a later epoch had begun"
