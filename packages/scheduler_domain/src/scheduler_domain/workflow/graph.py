"""The graph of tasks: each task and the tasks that it needs."""

from collections import Counter, deque
from collections.abc import Mapping, Sequence

from scheduler_domain.errors import MAX_PROBLEMS, InvalidDefinition, Problem
from scheduler_domain.naming import nearest, shown

Needs = Mapping[str, Sequence[str]]
"""For each task the tasks that it needs."""

_SHOWN_OF_CYCLE = 20


def check_graph(needs: Needs) -> list[Problem]:
    """What is wrong: ``unknown_task``, ``duplicate_need`` and ``cycle`` with its path; locs are from the root."""
    problems: list[Problem] = []
    for key, needed in needs.items():
        _check_needs(key, needed, needs, problems)
        if len(problems) >= MAX_PROBLEMS:
            return problems
    left, _ = _peel(needs)
    while left and len(problems) < MAX_PROBLEMS:
        cycle = _cycle_in(left)
        problems.append(_cycle_problem(cycle, needs))
        left, _ = _peel({key: left[key] for key in left.keys() - set(cycle)})
    return problems


def _check_needs(key: str, needed: Sequence[str], known: Needs, problems: list[Problem]) -> None:
    for position, need in enumerate(needed):
        loc = ("tasks", key, "needs", position)
        if need not in known:
            message = f"task '{key}' needs '{shown(need)}', which does not exist{nearest(need, known)}"
            problems.append(Problem(loc, "unknown_task", message))
    if len(set(needed)) < len(needed):
        twice = next(need for need, count in Counter(needed).items() if count > 1)
        problems.append(Problem(("tasks", key, "needs"), "duplicate_need", f"task '{key}' needs '{twice}' twice"))


def topological_order(needs: Needs) -> list[str]:
    """Every task behind all that it needs, otherwise in the order given; raises `InvalidDefinition`."""
    problems = check_graph(needs)
    if problems:
        raise InvalidDefinition(problems)
    return _peel(needs)[1]


def _peel(needs: Needs) -> tuple[dict[str, list[str]], list[str]]:
    """Takes away, again and again, what needs nothing that is left (Kahn). Returns what stays, which is the cycles and
    what comes after them, with its needs among itself, and the order in which the others were taken."""
    waits = {key: len({need for need in needed if need in needs}) for key, needed in needs.items()}
    followers: dict[str, list[str]] = {key: [] for key in needs}
    for key, needed in needs.items():
        for need in set(needed):
            if need in followers:
                followers[need].append(key)
    free = deque(key for key, count in waits.items() if count == 0)
    order: list[str] = []
    while free:
        key = free.popleft()
        order.append(key)
        for follower in followers[key]:
            waits[follower] -= 1
            if waits[follower] == 0:
                free.append(follower)
    taken = set(order)
    left = {
        key: [need for need in needed if need in needs and need not in taken]
        for key, needed in needs.items()
        if key not in taken
    }
    return left, order


def _cycle_in(left: Mapping[str, Sequence[str]]) -> list[str]:
    """One cycle, in the order of execution. Every task in ``left`` needs another one there, so the walk along the needs
    comes back to where it was."""
    path: dict[str, int] = {}
    key = next(iter(left))
    while key not in path:
        path[key] = len(path)
        key = left[key][0]
    return list(path)[path[key] :][::-1]


def _cycle_problem(cycle: Sequence[str], needs: Needs) -> Problem:
    """Placed at the task of the cycle that the author wrote first, from which the path is shown, too."""
    members = set(cycle)
    first = next(key for key in needs if key in members)
    start = cycle.index(first)
    turned = [*cycle[start:], *cycle[:start]]
    names = turned if len(turned) <= _SHOWN_OF_CYCLE else [*turned[: _SHOWN_OF_CYCLE - 1], "…", turned[-1]]
    path = " → ".join([*names, first])
    return Problem(("tasks", first, "needs"), "cycle", f"the tasks wait for one another for ever: {path}")


class Ancestry:
    """Which tasks come before which. Kept as one bit set per task: asking costs nothing, however large the graph."""

    def __init__(self, needs: Needs, order: Sequence[str]) -> None:
        self._bits = {key: 1 << position for position, key in enumerate(order)}
        self._before: dict[str, int] = {}
        for key in order:
            before = 0
            for need in needs[key]:
                before |= self._before[need] | self._bits[need]
            self._before[key] = before

    def is_before(self, ancestor: str, key: str) -> bool:
        """Whether ``key`` needs ``ancestor``, directly or through others."""
        return bool(self._before[key] & self._bits[ancestor])
