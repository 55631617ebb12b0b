"""How PostgreSQL plans the statements of a transaction, and reads outside of one.

By default for the arguments at hand: a cached plan expects ten rows in every array and a table as small as it was, and
then compares every live row with every row of the batch (outcomes were recorded at a fifth of the pace). But planning a
statement that finds a few rows by their keys costs more than executing it. So a session that is busy keeps the plans of
such statements, for a second: a plan made while a table was almost empty goes through the whole of it, and is not there
any more when that has begun to matter.
"""

import math
from collections.abc import Sequence
from typing import Any

KEPT_SECONDS = 1.0

OWN_FIRST = 3
"""So many transactions of a second plan for themselves: a plan that is hardly used again costs more than it saves."""

FEW = 16
"""What is kept serves no more rows than this at a time; planning for more is worth its while."""

_BEGIN = (
    "begin; set local statement_timeout = '5s'; set local lock_timeout = '2s';"
    " set local idle_in_transaction_session_timeout = '3s';"
    " set local random_page_cost = 0.2; set local cpu_tuple_cost = 0.1; set local jit = off; "
)
"""Set with each transaction, not with the session, so that it holds behind pgbouncer in transaction mode too.

What is worked on is in memory, so that a page costs little beside looking at a row. With the server's own figures,
which are of disks, a batch of a hundred keys goes through a whole table of some ten thousand rows. Statements are not
compiled: none is long enough to gain by it, and the server would decide by these costs."""

OWN_PLANS = "set local plan_cache_mode = force_custom_plan"
_KEPT_PLANS = "set local plan_cache_mode = force_generic_plan"
_NEW_PLANS = "discard plans; "

BEGIN_WITH_OWN_PLANS = _BEGIN + OWN_PLANS
BEGIN_WITH_KEPT_PLANS = _BEGIN + _KEPT_PLANS

READS = "set plan_cache_mode = force_custom_plan; set random_page_cost = 1.1; set jit = off"
"""For a session, for its reads outside transactions. A plan for any arguments goes through every partition of history,
and may go along the wrong index; and one for a disk that turns goes through the runs of a whole project, where those of
one workflow are a tenth of them, because they lie in a row."""


class Plans:
    """What one session keeps."""

    def __init__(self) -> None:
        self._since = -math.inf
        self._begun = 0

    def begin(self, now: float) -> tuple[str, bool]:
        """What begins a transaction ``now`` (monotonic), and whether it uses plans that are kept."""
        if now - self._since >= KEPT_SECONDS:
            self._since = now
            self._begun = 0
        self._begun += 1
        if self._begun <= OWN_FIRST:
            return BEGIN_WITH_OWN_PLANS, False
        return (_NEW_PLANS if self._begun == OWN_FIRST + 1 else "") + BEGIN_WITH_KEPT_PLANS, True


def are_few(arguments: Sequence[Any]) -> bool:
    """Whether the arguments of a statement name no more than `FEW` rows."""
    return all(len(value) <= FEW for value in arguments if type(value) in (list, tuple))


def seen_by_key(guard: str) -> str:
    """``guard``, a condition on rows that a statement finds by their keys, in a form of which the planner has no
    statistics and takes half of the rows to pass. Those of states were taken when nothing ran, and say "one row": then
    every row that lives is compared with every row of the batch (a third of a second for 400)."""
    return f"case when {guard} then true else false end"
