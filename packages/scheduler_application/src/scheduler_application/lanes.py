"""In which order waiting hints are taken: the highest priority first, one take in ten from the lowest."""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import TypeVar

from scheduler_application.ports.messaging import Delivery, Lane
from scheduler_domain.workflow.definition import Priority

FROM_BELOW_EVERY = 10

D = TypeVar("D", bound=Delivery)


def lanes_of(queues: Sequence[str]) -> list[Lane]:
    """Every lane of ``queues``, each once."""
    return [Lane(queue, priority) for queue in dict.fromkeys(queues) for priority in Priority]


class Turns:
    """The takes of one source; queues of the same priority take turns in being first."""

    def __init__(self, queues: Sequence[str]) -> None:
        self._queues = list(dict.fromkeys(queues))
        self._takes = 0

    def take(self, held: Mapping[Lane, deque[D]], max_hints: int) -> list[D]:
        """Removes from ``held`` what one take returns: whole deliveries until they make up ``max_hints`` hints."""
        taken: list[D] = []
        hints = 0
        for lane in self._order():
            waiting = held.get(lane)
            while waiting and hints < max_hints:
                taken.append(waiting.popleft())
                hints += len(taken[-1].hints)
        if taken:
            self._takes += 1
        return taken

    def _order(self) -> list[Lane]:
        first = self._takes % max(len(self._queues), 1)
        queues = self._queues[first:] + self._queues[:first]
        priorities = sorted(Priority, key=lambda priority: priority.rank)
        if self._takes % FROM_BELOW_EVERY == FROM_BELOW_EVERY - 1:
            priorities.reverse()
        return [Lane(queue, priority) for priority in priorities for queue in queues]
