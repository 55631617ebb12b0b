"""Processor time by part of the system, children that have ended included."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psutil

Spent = dict[str, float]
"""Seconds by part."""

CHILDREN = "python_children"
MACHINE = "machine"
GENERATOR = "load_generator"


@dataclass(frozen=True, slots=True)
class Parts:
    """Whose time is counted. A server that others use too counts with what it does for them."""

    services: Mapping[str, Sequence[psutil.Process]]
    """Such as the API; a worker's children are counted apart."""
    servers: Mapping[str, psutil.Process]
    """Such as PostgreSQL, each with all its children."""

    def spent(self) -> Spent:
        """Seconds since each process started, of the machine since it started; subtract two with `between`."""
        found = {name: tree_seconds(process) for name, process in self.servers.items()}
        children = 0.0
        for name, processes in self.services.items():
            own = sum(own_seconds(process) for process in processes)
            below = sum(tree_seconds(process) for process in processes) - own
            if name == "worker":
                children += below
            else:
                own += below
            found[name] = own
        here = os.times()
        return found | {CHILDREN: children, GENERATOR: here.user + here.system, MACHINE: _busy()}


def between(before: Spent, after: Spent) -> Spent:
    return {name: after[name] - seconds for name, seconds in before.items()}


def own_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def tree_seconds(process: psutil.Process) -> float:
    """The process, its children, theirs, and all of them that have ended."""
    total = 0.0
    for member in [process, *process.children(recursive=True)]:
        try:
            times = member.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def _busy() -> float:
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - times.iowait - getattr(times, "guest", 0) - getattr(times, "guest_nice", 0))
