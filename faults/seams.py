"""Seams: named points in Orrery's own processes at which one dies, fails, or loses an answer.

They are put in from outside, by wrapping methods of the product before its normal entry point runs: the product knows
nothing of them. `seam_table` has the list.
"""

import contextlib
import functools
import importlib
import inspect
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NoReturn

from scheduler_application.errors import Unavailable
from scheduler_infrastructure.persistence.engine import PostgresDatabase, SqliteDatabase
from scheduler_infrastructure.persistence.store import SqlStore

COMMIT = "commit of "
"""Begins the target of a seam at the commit of a use case's transaction; the class of the use case follows."""


class Kind(StrEnum):
    """What happens at a seam."""

    CRASH = "crash"
    """The process is gone, as by SIGKILL: nothing of it runs any more."""

    ERROR = "error"
    """Something that nobody expects is raised at the point: a bug, no memory."""

    EXECUTE_AND_TIMEOUT = "execute_and_timeout"
    """What stands at the point is carried out, and whoever asked for it hears of a failure that may pass."""


class At(StrEnum):
    """On which side of its target a seam lies."""

    BEFORE = "before"
    AFTER = "after"


class Lost(StrEnum):
    """What is heard where an answer is lost."""

    CONNECTION = "connection"
    """Inside a transaction: the driver says that the connection is gone, and the store's guard tries again."""

    PORT = "port"
    """At a port or a use case: `Unavailable`."""


@dataclass(frozen=True, slots=True)
class Seam:
    """A point. ``target`` is ``module:Class.method``, several of them (the adapters of one port) with commas between,
    or `COMMIT` and a class; ``within`` names the use case in whose transactions alone the point is. ``process`` runs
    it; ``story`` reaches it (`faults.inprocess.stories`)."""

    name: str
    process: str
    story: str
    target: str
    at: At
    within: str | None = None
    lost: Lost = Lost.PORT

    @property
    def use_case(self) -> str | None:
        """The class whose commit this is about."""
        return self.target.removeprefix(COMMIT) if self.target.startswith(COMMIT) else None


@dataclass(frozen=True, slots=True)
class Injection:
    """``kind`` happens when ``seam`` is reached for the ``number``-th time, and never again."""

    seam: str
    kind: Kind
    number: int = 1

    @classmethod
    def parse(cls, text: str, kind: Kind) -> "Injection":
        """``claim/after_commit`` or ``claim/after_commit:2``. Raises `ValueError`."""
        name, _, number = text.partition(":")
        return cls(name, kind, int(number or 1))


class SeamError(Exception):
    """What nobody expected."""


def kill_this_process() -> NoReturn:
    """Ends the process as a power cut would: no handler, no ``finally`` and no goodbye runs."""
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()
    raise SystemExit


_use_case: ContextVar[str | None] = ContextVar("use_case", default=None)


@dataclass(slots=True)
class _Commit:
    """The transaction under way: whether the answer to its commit will be lost."""

    answer_is_lost: bool = False


_commit: ContextVar[_Commit | None] = ContextVar("commit", default=None)


@dataclass(slots=True)
class Switchboard:
    """Wraps the targets of ``seams`` and does there what ``injections`` say; ``die`` ends the process and does not
    return."""

    seams: tuple[Seam, ...]
    injections: tuple[Injection, ...] = ()
    die: Callable[[], NoReturn] = kill_this_process
    reached: Counter[str] = field(default_factory=Counter)
    done: list[Injection] = field(default_factory=list)
    """What has happened."""

    def __post_init__(self) -> None:
        unknown = {injection.seam for injection in self.injections} - {seam.name for seam in self.seams}
        if unknown:
            raise ValueError(f"there is no seam {', '.join(sorted(unknown))}")

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """The seams are there while the block runs."""
        with contextlib.ExitStack() as undo:
            for seam in self.seams:
                for owner, name in places(seam):
                    undo.enter_context(_replaced(owner, name, self._seamed(seam, getattr(owner, name))))
            undo.enter_context(_replaced(SqlStore, "transact", self._transact(SqlStore.transact)))
            for database in (PostgresDatabase, SqliteDatabase):
                undo.enter_context(_replaced(database, "transaction", _cut_off(database.transaction)))
            yield

    # --- Methods ------------------------------------------------------------------------------------------------

    def _seamed(self, seam: Seam, original: Callable[..., Any]) -> Callable[..., Any]:
        if not inspect.iscoroutinefunction(original):
            return self._seamed_at_once(seam, original)

        @functools.wraps(original)
        async def seamed(*arguments: Any, **named: Any) -> Any:
            if seam.at is At.BEFORE and (kind := self._due(seam)) is not None:
                if kind is Kind.EXECUTE_AND_TIMEOUT:
                    await original(*arguments, **named)
                self._do(seam, kind)
            answer = await original(*arguments, **named)
            if seam.at is At.AFTER and (kind := self._due(seam)) is not None:
                self._do(seam, kind)
            return answer

        return seamed

    def _seamed_at_once(self, seam: Seam, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def seamed(*arguments: Any, **named: Any) -> Any:
            if seam.at is At.BEFORE and (kind := self._due(seam)) is not None:
                if kind is Kind.EXECUTE_AND_TIMEOUT:
                    original(*arguments, **named)
                self._do(seam, kind)
            answer = original(*arguments, **named)
            if seam.at is At.AFTER and (kind := self._due(seam)) is not None:
                self._do(seam, kind)
            return answer

        return seamed

    # --- Transactions -------------------------------------------------------------------------------------------

    def _transact(self, original: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        """`SqlStore.transact` with seams on both sides of the commit.

        Before it an answer that is lost is the connection's, and the store's guard tries the transaction again; after
        it the guard has given up, and the use case hears `Unavailable`.
        """

        async def transact(store: SqlStore, work: Callable[[Any], Awaitable[Any]]) -> Any:
            use_case = name_of(work)
            names = _use_case.set(use_case)
            try:
                answer = await original(store, functools.partial(self._before_commit, use_case, work))
            finally:
                _use_case.reset(names)
            self._at_commit(use_case, At.AFTER)
            return answer

        return transact

    async def _before_commit(self, use_case: str, work: Callable[[Any], Awaitable[Any]], tx: Any) -> Any:
        answer = await work(tx)
        self._at_commit(use_case, At.BEFORE)
        return answer

    def _at_commit(self, use_case: str, at: At) -> None:
        for seam in self.seams:
            if seam.use_case == use_case and seam.at is at and (kind := self._due(seam)) is not None:
                commit = _commit.get()
                if kind is Kind.EXECUTE_AND_TIMEOUT and at is At.BEFORE and commit is not None:
                    commit.answer_is_lost = True
                    continue
                self._do(seam, kind)

    # --- What happens -------------------------------------------------------------------------------------------

    def _due(self, seam: Seam) -> Kind | None:
        """Counts that ``seam`` is reached; what is to happen there now."""
        if seam.within is not None and _use_case.get() != seam.within:
            return None
        self.reached[seam.name] += 1
        for injection in self.injections:
            if (injection.seam, injection.number) == (
                seam.name,
                self.reached[seam.name],
            ) and injection not in self.done:
                self.done.append(injection)
                return injection.kind
        return None

    def _do(self, seam: Seam, kind: Kind) -> NoReturn:
        match kind:
            case Kind.CRASH:
                self.die()
            case Kind.ERROR:
                raise SeamError(f"at {seam.name}")
            case Kind.EXECUTE_AND_TIMEOUT if seam.lost is Lost.CONNECTION:
                raise ConnectionResetError(f"the answer was lost at {seam.name}")
            case _:
                raise Unavailable(f"the answer was lost at {seam.name}")


def places(seam: Seam) -> list[tuple[type, str]]:
    """The methods that are to be wrapped, each as a class and a name; none for a commit. Raises what says that there is
    no such thing."""
    return [] if seam.use_case is not None else [_place(target.strip()) for target in seam.target.split(",")]


def _place(target: str) -> tuple[type, str]:
    module, _, path = target.partition(":")
    owner, _, name = path.partition(".")
    found: type = getattr(importlib.import_module(module), owner)
    if name not in vars(found):
        raise LookupError(f"{owner} has no method {name} of its own")
    return found, name


def name_of(work: Callable[..., Any]) -> str:
    """The use case whose transaction ``work`` is: the class in which it was written."""
    inner = work.func if isinstance(work, functools.partial) else work
    return str(inner.__qualname__).partition(".")[0]


def _cut_off(original: Callable[..., Any]) -> Callable[..., Any]:
    """``transaction`` of a database, after whose commit the connection may be found gone."""

    @contextlib.asynccontextmanager
    async def transaction(database: Any) -> AsyncIterator[Any]:
        under_way = _Commit()
        before = _commit.set(under_way)
        try:
            async with original(database) as connection:
                yield connection
        finally:
            _commit.reset(before)
        if under_way.answer_is_lost:
            raise ConnectionResetError("the answer to the commit was lost")

    return transaction


@contextlib.contextmanager
def _replaced(owner: type, name: str, replacement: Any) -> Iterator[None]:
    original = vars(owner)[name]
    setattr(owner, name, replacement)
    try:
        yield
    finally:
        setattr(owner, name, original)
