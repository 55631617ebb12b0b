"""``--kills N``: random processes of a site under load are killed again and again, many before the last one is back.

Every kill draws what dies, when, and how long it stays dead from the seed. A kill has recovered when a run that is
asked for after it has succeeded, a due time after it was decided, what died is ready again and, for a worker, no task
run is left in its hands.
"""

import asyncio
import time
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import cast

from faults.campaign import RATE, Outcome, add_figures, at_work, come_to_rest, judged, keep_if_broken, say
from faults.recovery import NotRecovered, identities, next_fire, next_run, released
from faults.site import LOOK_SECONDS, Kind, Shape, Site, is_alive
from tests.support.private_servers import PrivateServer
from tests.support.stack import Node

WEIGHTS: Mapping[str, int] = {
    "api": 4,
    "leader": 3,
    "dispatcher": 2,
    "worker": 6,
    "broker": 2,
    "postgres": 2,
    "backend": 2,
    "redis": 1,
}
"""How often each kind dies. ``backend`` is one of PostgreSQL's processes, ``postgres`` all of them."""
PAUSE_SECONDS = (1.0, 4.0)
DEAD_SECONDS = (0.0, 2.0)
RECOVERED_SECONDS = 90.0
RECOVERING_AT_ONCE = 6
"""More kills than this are never waiting for their recovery: the system must have a chance."""


@dataclass(slots=True)
class Killed:
    """``seconds`` until recovery by kind; ``order`` is what died, as drawn; ``ended`` are processes that ended by
    themselves and were launched again, as a supervisor does."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)


async def kill_campaign(kills: int, *, seed: int, rate: float = RATE, shared: Shape | None = None) -> Outcome:
    """Kills ``kills`` times, then lets the system come to rest and asks the checker everything."""
    outcome = Outcome(seed)
    async with at_work(shared, seed=seed, rate=rate) as run:
        started = time.monotonic()
        killed = await _Killer(run.site, Random(f"kills {seed}")).kill(kills)
        took = time.monotonic() - started
        evidence = await come_to_rest(run)
        outcome.violations += [*killed.problems, *await judged(evidence)]
        add_figures(outcome, evidence)
        keep_if_broken(run.site, outcome)
    outcome.figures |= {
        "kills": len(killed.order),
        "kill_seconds": round(took),
        "ended_by_themselves": len(killed.ended),
    }
    outcome.recoveries.update(killed.seconds)
    return outcome


@dataclass(frozen=True, slots=True)
class Drawn:
    """What the seed says of one kill: ``which`` of its kind, as a share, and how long it stays dead."""

    number: int
    kind: str
    which: float
    dead_seconds: float


def draw(chance: Random, number: int) -> tuple[Drawn, float]:
    """The next kill, and how many seconds later the one after it follows."""
    (kind,) = chance.choices(list(WEIGHTS), list(WEIGHTS.values()))
    drawn = Drawn(number, kind, chance.random(), chance.uniform(*DEAD_SECONDS))
    return drawn, chance.uniform(*PAUSE_SECONDS)


class _Killer:
    def __init__(self, site: Site, chance: Random) -> None:
        self._site = site
        self._chance = chance
        self._killed = Killed()
        self._servers: Mapping[str, PrivateServer] = {
            "broker": site.rabbitmq,
            "postgres": site.postgres,
            "redis": site.redis,
        }
        self._down: set[str] = set()
        """Servers that are dead or on their way back: they are not killed twice."""
        self._held: set[str] = set()
        """Nodes that are being killed, and stay dead for now: they are neither killed nor launched by others."""

    async def kill(self, kills: int) -> Killed:
        """Kills so often; returns when the last one has recovered."""
        recovering: set[asyncio.Task[None]] = set()
        supervising = asyncio.create_task(self._supervise())
        for number in range(1, kills + 1):
            drawn, pause = draw(self._chance, number)
            self._killed.order.append(drawn.kind)
            task = asyncio.create_task(self._kill_and_wait(drawn))
            recovering.add(task)
            task.add_done_callback(recovering.discard)
            await asyncio.sleep(pause)
            while len(recovering) >= RECOVERING_AT_ONCE:
                await asyncio.wait(recovering, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.gather(*recovering)
        supervising.cancel()
        await asyncio.gather(supervising, return_exceptions=True)
        return self._killed

    async def _kill_and_wait(self, drawn: Drawn) -> None:
        back: Awaitable[None]
        try:
            if drawn.kind == "backend":
                at, back = await self._kill_backend(drawn), _nothing()
            elif drawn.kind in self._servers:
                at, back = await self._kill_server(drawn), _nothing()
            else:
                at, back = await self._kill_node(drawn)
            within = RECOVERED_SECONDS
            await asyncio.gather(
                back, next_fire(self._site, at, within=within), next_run(self._site, at, within=within)
            )
        except Exception as error:  # noqa: BLE001 - the campaign goes on, and tells it at the end
            self._killed.problems.append(
                f"recovery: kill {drawn.number} ({drawn.kind}): {type(error).__name__}: {error}"
            )
            return
        seconds = time.time() - at
        self._killed.seconds.setdefault(drawn.kind, []).append(seconds)
        say(f"kill {drawn.number}: {drawn.kind}, recovered after {seconds:.1f} s")

    async def _kill_server(self, drawn: Drawn) -> float:
        """Kills a server and starts it again; answers when it was killed."""
        server = self._servers[drawn.kind]
        while drawn.kind in self._down:
            await asyncio.sleep(LOOK_SECONDS)
        self._down.add(drawn.kind)
        try:
            at = await self._site.kill_server(server)
            await asyncio.sleep(drawn.dead_seconds)
            await asyncio.to_thread(server.restart)
        finally:
            self._down.discard(drawn.kind)
        return at

    async def _kill_backend(self, drawn: Drawn) -> float:
        while "postgres" in self._down:
            await asyncio.sleep(LOOK_SECONDS)
        return await self._site.kill_backend(int(drawn.which * 1000))

    async def _kill_node(self, drawn: Drawn) -> tuple[float, Awaitable[None]]:
        """Kills a process and launches it again; answers when it was killed, and what waits until it is back."""
        node = await self._victim(drawn)
        try:
            worker_ids = await identities(self._site, node.name) if drawn.kind == "worker" else []
            at = self._site.kill(node)
            await asyncio.sleep(drawn.dead_seconds)
            node.relaunch()
        finally:
            self._held.discard(node.name)
        return at, self._back(node, worker_ids, at)

    async def _back(self, node: Node, worker_ids: Sequence[str], at: float) -> None:
        """The process is ready again, maybe after it was killed once more, and its old work is in other hands."""
        deadline = time.monotonic() + RECOVERED_SECONDS
        while not (is_alive(node) and await node.probe("/readyz") == 200):
            if time.monotonic() > deadline:
                raise NotRecovered(f"{node.name} is not ready after {RECOVERED_SECONDS:g} s:\n{node.tail()[-500:]}")
            await asyncio.sleep(LOOK_SECONDS)
        if worker_ids:
            await released(self._site, worker_ids, at, within=RECOVERED_SECONDS)

    async def _victim(self, drawn: Drawn) -> Node:
        """One that lives and is in nobody else's hands; the leader where it is asked for. It is held from now on."""
        while True:
            if drawn.kind == "leader":
                found = [await self._site.leader(within=RECOVERED_SECONDS)]
            else:
                found = self._site.of(cast("Kind", drawn.kind))
            # Two kills may have waited for the same leader.
            free = [node for node in found if node.name not in self._held and is_alive(node)]
            if free:
                node = free[int(drawn.which * len(free))]
                self._held.add(node.name)
                return node
            await asyncio.sleep(LOOK_SECONDS)

    async def _supervise(self) -> None:
        """Launches what ended by itself, as systemd or Kubernetes does."""
        while True:
            for node in self._site.nodes:
                if node.process.poll() is not None and node.name not in self._held:
                    say(f"{node.name} ended by itself with {node.process.returncode}: {node.tail()[-300:]}")
                    self._killed.ended.append(node.name)
                    node.relaunch()
            await asyncio.sleep(1.0)


async def _nothing() -> None:
    """A server is back when it was restarted."""
