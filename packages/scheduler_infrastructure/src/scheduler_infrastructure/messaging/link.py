"""One connection to the broker that is made again for as long as it is wanted.

aio-pika's robust connection is not used: it waits a fixed time between attempts, makes calls wait while it is away,
and restores consumers under callers who still hold messages of the old channel. Here whoever uses the link builds
its own channel again, and so knows that what it held is void.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable

import structlog
from aio_pika import Connection
from aio_pika.abc import AbstractChannel
from aiormq.exceptions import AMQPError
from pamqp.exceptions import PAMQPException
from yarl import URL

from scheduler_application.errors import Unavailable
from scheduler_application.ports.time import Randomness

HEARTBEAT_SECONDS = 5
CONNECT_SECONDS = 3.0
CALL_SECONDS = 2.0
CLOSE_SECONDS = 2.0
CANCELS = 4
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 2.0
LONGEST_PAUSE_SECONDS_UNHEARD = 0.5
"""Where nobody listens, as while the broker starts, asking again costs nobody anything."""

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

_LOSSES = (asyncio.CancelledError, AMQPError, PAMQPException, OSError, RuntimeError)


class ConnectionLost(Exception):
    """The connection or channel went away under a call; what the call did is unknown.

    ``cause`` is the library's error.
    """

    def __init__(self, cause: BaseException) -> None:
        self.cause = cause
        super().__init__(f"{type(cause).__name__}: {cause}")


class NoAnswer(Unavailable):
    """There is a connection, and the broker does not answer on it."""


@contextlib.asynccontextmanager
async def noticing_loss() -> AsyncIterator[None]:
    """Raises `ConnectionLost` for whatever a lost connection makes the block raise.

    aiormq ends what waits on a dead channel by `asyncio.CancelledError` or a bare `Exception`, and now and then
    swallows a cancellation while a connection dies. So what counts is whether somebody has cancelled the task
    meanwhile: then it is a cancellation, whatever arrives, and otherwise a loss. `TimeoutError` passes.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    lost: BaseException | None = None
    try:
        yield
    except TimeoutError:
        raise
    except (asyncio.CancelledError, Exception) as error:
        if type(error) is not Exception and not isinstance(error, _LOSSES):
            raise
        lost = error
    if task is not None and task.cancelling() > before:
        raise asyncio.CancelledError
    if lost is not None:
        raise ConnectionLost(lost)


class Link:
    """``purpose`` ends up in the connection's name, where operators see it."""

    def __init__(self, url: str, randomness: Randomness, *, name: str, purpose: str) -> None:
        self.name = f"{name} {purpose}"
        self.randomness = randomness
        self._url = URL(url).update_query(heartbeat=str(HEARTBEAT_SECONDS), name=self.name)
        self._where = f"{self._url.host}:{self._url.port or 5672}"
        self._connection: Connection | None = None
        self._up = asyncio.Event()
        self._lost = asyncio.Event()
        self._runner: asyncio.Task[None] | None = None
        self._complained = ""
        self._longest_pause = LONGEST_PAUSE_SECONDS

    def start(self) -> None:
        """Begins to connect in the background; idempotent."""
        if self._runner is None:
            self._runner = asyncio.create_task(self._run(), name=self.name)

    @property
    def is_up(self) -> bool:
        return self._up.is_set()

    async def wait_up(self) -> None:
        await self._up.wait()

    async def open_channel(self, *, confirms: bool = True) -> AbstractChannel:
        """A new channel within `CALL_SECONDS`; raises `Unavailable` at once where there is no connection."""
        connection = self._connection
        if connection is None:
            raise Unavailable(f"the broker at {self._where} cannot be reached")
        try:
            async with noticing_loss(), asyncio.timeout(CALL_SECONDS):
                channel = connection.channel(publisher_confirms=confirms, on_return_raises=confirms)
                await channel.initialize()
        except TimeoutError:
            raise NoAnswer(f"the broker at {self._where} did not answer within {CALL_SECONDS:g} s") from None
        except ConnectionLost as lost:
            raise Unavailable(f"the broker at {self._where} refused: {lost}") from None
        return channel

    @contextlib.asynccontextmanager
    async def brief_channel(self) -> AsyncIterator[AbstractChannel]:
        """A channel for what may fail, as a failure closes the channel it happened on."""
        channel = await self.open_channel()
        try:
            yield channel
        finally:
            await close_quietly(channel)

    def suspect(self) -> None:
        """The connection does not answer: drop it and make another."""
        self._lost.set()

    async def close(self) -> None:
        """Ends within `CLOSE_SECONDS`; idempotent."""
        runner, self._runner = self._runner, None
        if runner is None:
            return
        runner.cancel()
        await asyncio.wait([runner], timeout=CLOSE_SECONDS)

    async def _run(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            connection = Connection(self._url)
            # Of this connection alone: a late call of an old one's callback must not end its successor.
            self._lost = lost = asyncio.Event()
            connection.close_callbacks.add(lambda *_, lost=lost: lost.set())
            try:
                if await self._connect(connection):
                    pause = FIRST_PAUSE_SECONDS
                    await lost.wait()
                    log.warning("broker_lost", broker=self._where, link=self.name)
            finally:
                self._up.clear()
                self._connection = None
                await close_quietly(connection)
            await asyncio.sleep(self.randomness.uniform(0, pause))
            pause = min(pause * 2, self._longest_pause)

    async def _connect(self, connection: Connection) -> bool:
        try:
            async with noticing_loss(), asyncio.timeout(CONNECT_SECONDS):
                await connection.connect()
        except (TimeoutError, ConnectionLost) as error:
            self._longest_pause = LONGEST_PAUSE_SECONDS_UNHEARD if _is_refused(error) else LONGEST_PAUSE_SECONDS
            self._complain(str(error) or "no answer")
            return False
        self._connection = connection
        self._complained = ""
        self._up.set()
        log.info("broker_connected", broker=self._where, link=self.name)
        return True

    def _complain(self, reason: str) -> None:
        if reason != self._complained:
            self._complained = reason
            log.warning("broker_unreachable", broker=self._where, link=self.name, reason=reason)


def _is_refused(error: BaseException) -> bool:
    return isinstance(error, ConnectionLost) and isinstance(error.cause.__cause__, ConnectionRefusedError)


class KeptChannel:
    """A channel of a link that is opened at first use and again when it was lost."""

    def __init__(self, link: Link, *, confirms: bool) -> None:
        self._link = link
        self._confirms = confirms
        self._channel: AbstractChannel | None = None
        self._opening = asyncio.Lock()

    async def get(self) -> AbstractChannel:
        """Raises `Unavailable` as `Link.open_channel` does."""
        if self._channel is None or self._channel.is_closed:
            async with self._opening:
                if self._channel is None or self._channel.is_closed:
                    self._channel = await self._link.open_channel(confirms=self._confirms)
        return self._channel


async def end(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancels ``tasks`` and waits for their end, at most `CLOSE_SECONDS`; cancels again what has swallowed it."""
    pending = set(tasks)
    for _ in range(CANCELS):
        for task in pending:
            task.cancel()
        if pending:
            _, pending = await asyncio.wait(pending, timeout=CLOSE_SECONDS / CANCELS)


async def close_quietly(closable: Connection | AbstractChannel) -> None:
    """Closes within `CLOSE_SECONDS`, whatever state it is in."""
    with contextlib.suppress(TimeoutError, ConnectionLost):
        async with noticing_loss(), asyncio.timeout(CLOSE_SECONDS):
            await closable.close()
