"""Making what has to exist in the broker."""

from collections.abc import Awaitable, Callable

import structlog
from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import ChannelPreconditionFailed

from scheduler_application.errors import Unavailable
from scheduler_application.ports.messaging import Lane
from scheduler_infrastructure.messaging.link import ConnectionLost, Link, noticing_loss
from scheduler_infrastructure.messaging.topology import Topology

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


async def declare_lane(link: Link, topology: Topology, lane: Lane) -> None:
    """Makes the lane's queue, and where its dead letters go, where they do not exist; raises `Unavailable`."""
    await _declare(link, topology.dead, topology.declare_dead)
    await _declare(link, topology.lane(lane), lambda channel: topology.declare_lane(channel, lane))


async def _declare(link: Link, name: str, declare: Callable[[AbstractChannel], Awaitable[object]]) -> None:
    """What exists with other properties, made by another version of us or by an operator, is used as it is."""
    try:
        async with link.brief_channel() as channel, noticing_loss():
            await declare(channel)
    except TimeoutError:
        raise Unavailable(f"the broker did not make {name} in time") from None
    except ConnectionLost as lost:
        if not isinstance(lost.cause, ChannelPreconditionFailed):
            raise Unavailable(f"the broker could not make {name}: {lost}") from None
        log.warning("broker_has_other_properties", name=name, reason=str(lost))
