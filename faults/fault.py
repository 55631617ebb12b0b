"""What a fault is, and how to add one.

A fault is one async function in a module of its group, ``faults/<group>_faults.py`` (every module whose name ends so is
found by `faults.catalogue`)::

    @fault("F01", "kill -9 of the leader", tier=2, target=10.0, sharp=("I3", "I7"))
    async def leader_dies(site: Site, chance: Random) -> Recovery:
        leader = await site.leader()
        at = site.kill(leader)
        gap = await next_fire(site, at)
        return Recovery("the leader was killed", gap)

- The campaign calls it with a whole site under load, and waits for the site to be whole again afterwards
  (`Site.whole`): a fault need not tidy up what `whole` mends. What it started for itself it ends by `Site.retire`.
- It takes every choice from ``chance`` and from nothing else, so that a seed repeats the campaign.
- It calls `Site.disturb` (or `kill`, `kill_server`, `kill_backend`, which do) right before it injects, waits for things
  and never for a length of time alone, and measures the recovery from that moment (or from the healing, where the
  matrix says so). `faults.recovery` has the usual measures.
- What only this fault can see to be wrong it returns as ``violations``, each a sentence with the ids; everything else
  is the checker's. It raises only when it could not be injected or when recovery did not come at all.
  It raises `NotInjected` with the reason where the machine does not let it: that is a verdict of its own, and no pass.
- ``needs`` is the shape of a site of its own, where the shared one will not do (other settings, faked clocks, a full
  disk); ``None`` shares the campaign's site. ``loaded=False`` is for a fault that wants no background load.
- ``tier`` is the lowest tier that contains it. ``sharp`` are the invariants that the fault is about; the checker looks
  at all of them.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from random import Random

from faults.site import Shape, Site


@dataclass(frozen=True, slots=True)
class Recovery:
    """What a fault did and measured.

    ``injected`` is one sentence; ``seconds`` until the service was as before, ``None`` where the fault measures none
    (it is compared with the fault's target); ``figures`` is whatever else was measured, for the table's JSON.
    """

    injected: str
    seconds: float | None = None
    figures: Mapping[str, float | int | str] = field(default_factory=dict)
    violations: tuple[str, ...] = ()


Inject = Callable[[Site, Random], Awaitable[Recovery]]


@dataclass(frozen=True, slots=True)
class Fault:
    """One row of the matrix; made by `fault`."""

    id: str
    title: str
    tier: int
    inject: Inject
    target: float | None = None
    """Seconds within which the service must be as before."""
    sharp: tuple[str, ...] = ()
    needs: Shape | None = None
    loaded: bool = True


def fault(
    id: str,  # noqa: A002 - it is the matrix's word
    title: str,
    *,
    tier: int,
    target: float | None = None,
    sharp: tuple[str, ...] = (),
    needs: Shape | None = None,
    loaded: bool = True,
) -> Callable[[Inject], Fault]:
    """Makes a `Fault` of the function below it."""

    def made(inject: Inject) -> Fault:
        return Fault(id, title, tier, inject, target, sharp, needs, loaded)

    return made
