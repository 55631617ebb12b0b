"""Live updates between processes over Redis publish/subscribe."""

import asyncio
import contextlib
import weakref
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import structlog
from redis.asyncio import BlockingConnectionPool, ConnectionPool, Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from scheduler_application.errors import Unavailable
from scheduler_application.ports.time import Randomness
from scheduler_infrastructure.resilience.breaker import Breaker, StateListener
from scheduler_infrastructure.resilience.deadline import deadline
from scheduler_infrastructure.resilience.feed import Feed

SOCKET_SECONDS = 0.1
PUBLISH_SECONDS = 0.08
"""Below the 100 ms that a publish may take: the loop needs the rest."""
CONNECT_SECONDS = 1.0
PROBE_SECONDS = 2.0
CLOSE_SECONDS = 2.0
PING_SECONDS = 3.0
SILENCES = 2
"""How many times `PING_SECONDS` may pass without a sign of life."""
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 2.0
CHANGES_PER_MESSAGE = 200
CHANGES_MAX = 1_000
PUBLISHERS_MAX = 8

Change = Mapping[str, Any]

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class _Message(msgspec.Struct, forbid_unknown_fields=True):
    """``p`` is the project, so that what reached the wrong reader is noticed and dropped; ``c`` are the changes."""

    p: str
    c: list[dict[str, Any]]


_decoder = msgspec.json.Decoder(_Message)


class RedisLiveUpdates:
    """`LiveUpdates`. Made synchronously; nothing connects before it is used; `close` once.

    A publish that is cut off costs its connection: redis-py discards it, as its next user would read the answer to
    this one (CVE-2023-28858).
    """

    def __init__(
        self,
        url: str,
        randomness: Randomness,
        *,
        namespace: str = "orrery",
        on_breaker_change: StateListener | None = None,
    ) -> None:
        self._prefix = f"{namespace}:live:"
        self._redis = Redis(
            connection_pool=BlockingConnectionPool.from_url(
                url,
                max_connections=PUBLISHERS_MAX,
                timeout=SOCKET_SECONDS,
                socket_timeout=SOCKET_SECONDS,
                socket_connect_timeout=SOCKET_SECONDS,
                retry=Retry(NoBackoff(), 1),
            )
        )
        self._breaker = Breaker(
            "redis",
            reset_after=2.0,
            timeout=PUBLISH_SECONDS,
            on_change=on_breaker_change,
        )
        self._reader = _Reader(url, self._prefix, randomness)
        self.probe = RedisProbe(self._redis)

    async def publish(self, changes: Sequence[Change]) -> None:
        try:
            pipeline = self._redis.pipeline(transaction=False)
            for project, part in _messages(changes):
                _ = pipeline.publish(self._prefix + project, msgspec.json.encode(_Message(project, part)))
            await self._breaker.call(pipeline.execute)
        except Unavailable:
            return
        except (RedisError, OSError, TypeError, ValueError) as error:
            log.debug("live_updates_lost", changes=len(changes), reason=str(error))

    def subscribe(self, project: str) -> AsyncIterator[Change]:
        return self._reader.watch(project)

    async def close(self) -> None:
        """Ends within `CLOSE_SECONDS`; idempotent."""
        with contextlib.suppress(TimeoutError, RedisError, OSError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._reader.close()
                await self._redis.aclose(close_connection_pool=True)


def _messages(changes: Sequence[Change]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    by_project: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for change in changes:
        by_project[str(change["project"])].append(dict(change))
    for project, all_of_it in by_project.items():
        for start in range(0, len(all_of_it), CHANGES_PER_MESSAGE):
            yield project, all_of_it[start : start + CHANGES_PER_MESSAGE]


class _Reader:
    """One connection that hears the changes of all projects, and hands on those that somebody in this process watches.

    It begins with the first watcher and stays until `close`. A pattern, as a subscription per project would have to
    be kept in step with watchers that come and go; what nobody watches is dropped before it is decoded.
    """

    def __init__(self, url: str, prefix: str, randomness: Randomness) -> None:
        self._prefix = prefix
        self._randomness = randomness
        # Its own client: a subscription keeps its connection and waits long for the next message.
        self._redis = Redis(
            connection_pool=ConnectionPool.from_url(
                url,
                max_connections=2,
                socket_connect_timeout=CONNECT_SECONDS,
                retry=Retry(NoBackoff(), 0),
            )
        )
        self._watchers: dict[str, weakref.WeakSet[Feed[Change]]] = {}
        self._runner: asyncio.Task[None] | None = None

    def watch(self, project: str) -> Feed[Change]:
        feed: Feed[Change] = Feed(CHANGES_MAX)
        self._watchers = {known: feeds for known, feeds in self._watchers.items() if feeds}
        self._watchers.setdefault(project, weakref.WeakSet()).add(feed)
        if self._runner is None:
            self._runner = asyncio.create_task(self._run(), name="live updates")
        return feed

    async def close(self) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            runner.cancel()
            await asyncio.wait([runner])
        await self._redis.aclose(close_connection_pool=True)

    async def _run(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            pubsub = self._redis.pubsub()
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    await pubsub.psubscribe(f"{self._prefix}*")
                pause = FIRST_PAUSE_SECONDS
                await self._hear(pubsub)
            except (RedisError, OSError) as error:
                log.debug("live_updates_interrupted", reason=str(error))
            except Exception:
                # Whatever it is: watchers must not fall silent for good.
                log.exception("live_updates_failed")
            finally:
                await _close_quietly(pubsub)
            await asyncio.sleep(self._randomness.uniform(0, pause))
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def _hear(self, pubsub: PubSub) -> None:
        """Hands on what arrives; returns when Redis has answered nothing, not even a ping, for a while."""
        silent = 0
        while silent < SILENCES:
            message = await pubsub.get_message(timeout=PING_SECONDS)
            if message is None:
                silent += 1
                await pubsub.ping()
                continue
            silent = 0
            if message["type"] == "pmessage":
                self._hand_on(bytes(message["channel"]).decode(), bytes(message["data"]))

    def _hand_on(self, channel: str, data: bytes) -> None:
        project = channel.removeprefix(self._prefix)
        feeds = self._watchers.get(project)
        if not feeds:
            return
        try:
            decoded = _decoder.decode(data)
        except (msgspec.MsgspecError, RecursionError):
            return
        if decoded.p != project:
            return
        for change in decoded.c:
            if change.get("project") == project:
                for feed in feeds:
                    feed.put(change)


async def _close_quietly(pubsub: PubSub) -> None:
    with contextlib.suppress(TimeoutError, RedisError, OSError):
        async with asyncio.timeout(CONNECT_SECONDS):
            await pubsub.aclose()  # type: ignore[no-untyped-call]


class RedisProbe:
    """A `DependencyProbe`."""

    name = "redis"

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def check(self) -> None:
        async with deadline(PROBE_SECONDS, "Redis"):
            try:
                await self._redis.ping()
            except (RedisError, OSError) as error:
                raise Unavailable(f"Redis cannot be reached: {type(error).__name__}") from None
