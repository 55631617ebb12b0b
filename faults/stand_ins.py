"""Nodes that a fault starts for itself: in the place of the site's own, or to lead them."""

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from faults.site import LOOK_SECONDS, Kind, Server, Site
from tests.support.stack import Node

END_SECONDS = 60.0
"""A worker may finish what it has."""
DISPATCHER_END_SECONDS = 30.0


@asynccontextmanager
async def standing_in(site: Site, *kinds: Kind, through: Server) -> AsyncIterator[Sequence[Node]]:
    """One node for each of ``kinds``, which reaches the server ``through`` a proxy of its own, and no other of those
    kinds. After the block the site's own are back and these are gone."""
    own = [node for kind in dict.fromkeys(kinds) for node in site.of(kind)]
    nodes = [await site.start(kind, through=(through,)) for kind in kinds]
    await asyncio.gather(*(node.ready() for node in nodes))
    await ended(own)
    try:
        yield nodes
    finally:
        for node in nodes:
            site.link(node, through).heal()
        await relaunched(own)
        await leave(site, *nodes)


async def lead(site: Site, node: Node) -> None:
    """Returns when ``node`` leads; whoever could lead in its place is told to stop, and started again afterwards."""
    if await node.metric("orrery_leader") == 1:
        return
    others = [other for other in site.of("dispatcher") if other is not node]
    await ended(others, within=DISPATCHER_END_SECONDS)
    while await site.leader() is not node:
        await asyncio.sleep(LOOK_SECONDS)
    await relaunched(others)


async def ended(nodes: Sequence[Node], *, within: float = END_SECONDS) -> None:
    """Tells those that still run to stop, and returns when all have."""
    for node in nodes:
        if node.process.poll() is None:
            node.process.send_signal(signal.SIGTERM)
    await asyncio.gather(*(node.ended(within=within) for node in nodes))


async def relaunched(nodes: Sequence[Node]) -> None:
    for node in nodes:
        node.relaunch()
    await asyncio.gather(*(node.ready() for node in nodes))


async def leave(site: Site, *nodes: Node) -> None:
    """Ends nodes that a fault started for itself."""
    await ended(nodes)
    for node in nodes:
        await site.retire(node)
