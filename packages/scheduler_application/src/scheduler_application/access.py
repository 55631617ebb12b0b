"""API keys: ``ork_<id>_<secret><checksum>``. The store holds the id and a hash; the key itself is shown once."""

import asyncio
import hashlib
import hmac
import secrets
import zlib
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from scheduler_application.actor import Actor
from scheduler_application.errors import InvalidCredential, Rejected
from scheduler_application.ports.persistence import Store
from scheduler_application.ports.time import Clock
from scheduler_domain.ids import DEFAULT_PROJECT, ProjectId

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PREFIX = "ork"
_ID_LENGTH = 8
_SECRET_LENGTH = 43
_CHECKSUM_LENGTH = 6

KNOWN_FOR_SECONDS = 5.0
"""How long a key that was found good is trusted without asking the store."""

ASKED_AGAIN_SECONDS = 1.0
"""How long before that is over a key that is in use is asked for again."""

MAX_KNOWN = 1_000


@dataclass(frozen=True, slots=True)
class NewApiKey:
    """A key as its owner gets it, and what is stored of it."""

    text: str
    id: str
    secret_hash: str


@dataclass(frozen=True, slots=True)
class ParsedKey:
    id: str
    secret: str


def new_api_key() -> NewApiKey:
    """A key with 256 bits of chance."""
    key_id = "".join(secrets.choice(_BASE62) for _ in range(_ID_LENGTH))
    secret = "".join(secrets.choice(_BASE62) for _ in range(_SECRET_LENGTH))
    body = f"{_PREFIX}_{key_id}_{secret}"
    return NewApiKey(body + _checksum(body), key_id, secret_hash(secret))


def parse_api_key(text: str) -> ParsedKey | None:
    """The parts of a well-formed key with the right checksum; ``None`` for anything else."""
    prefix, _, rest = text.partition("_")
    key_id, _, tail = rest.partition("_")
    secret, checksum = tail[:_SECRET_LENGTH], tail[_SECRET_LENGTH:]
    well_formed = (
        prefix == _PREFIX
        and len(key_id) == _ID_LENGTH
        and len(tail) == _SECRET_LENGTH + _CHECKSUM_LENGTH
        and set(key_id + tail) <= set(_BASE62)
    )
    if not well_formed or not hmac.compare_digest(checksum, _checksum(f"{_PREFIX}_{key_id}_{secret}")):
        return None
    return ParsedKey(key_id, secret)


def secret_hash(secret: str) -> str:
    """A fast hash is right here: the secret is chance, not a word that somebody chose."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _checksum(body: str) -> str:
    number = zlib.crc32(body.encode())
    digits = ""
    for _ in range(_CHECKSUM_LENGTH):
        number, digit = divmod(number, len(_BASE62))
        digits = _BASE62[digit] + digits
    return digits


class _Known(NamedTuple):
    key: ParsedKey
    actor: Actor
    until: float
    """By the monotonic clock, counted from before the store was asked."""


class Authenticate:
    """Who a key belongs to. A malformed key costs no look-up; a good one is remembered for a few seconds, and while it
    is in use the store is asked again before they are over. Who comes while the store is asked shares the answer:
    hundreds of requests a second come with the same key, and would all ask in the same moment."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._asking: dict[str, asyncio.Task[Actor]] = {}

    async def execute(self, api_key: str) -> Actor:
        """Raises `InvalidCredential`, the same for every reason."""
        now = self._clock.monotonic()
        known = self._known.get(api_key)
        if known is not None and now < known.until:
            if now >= known.until - ASKED_AGAIN_SECONDS:
                self._begin_to_ask(api_key, known.key)
            return known.actor
        parsed = parse_api_key(api_key)
        if parsed is None:
            raise InvalidCredential("the API key is not valid")
        self._begin_to_ask(api_key, parsed)
        # One request that goes away does not take the answer from the others.
        return await asyncio.shield(self._asking[api_key])

    def _begin_to_ask(self, api_key: str, parsed: ParsedKey) -> None:
        if api_key not in self._asking:
            task = self._asking[api_key] = asyncio.create_task(self._look_up(api_key, parsed))
            task.add_done_callback(partial(self._answered, api_key))

    def _answered(self, api_key: str, task: "asyncio.Task[Actor]") -> None:
        del self._asking[api_key]
        if not task.cancelled():
            task.exception()  # Nobody may wait for it, which is not worth a warning.

    async def _look_up(self, api_key: str, parsed: ParsedKey) -> Actor:
        now = self._clock.monotonic()
        stored = await self._store.transact(lambda tx: tx.access.api_key(parsed.id))
        expected, project = stored if stored is not None else (secret_hash(""), "")
        if not hmac.compare_digest(secret_hash(parsed.secret), expected) or stored is None:
            self._known.pop(api_key, None)
            raise InvalidCredential("the API key is not valid")
        actor = Actor(f"key:{parsed.id}", ProjectId(project))
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        self._known[api_key] = _Known(parsed, actor, now + KNOWN_FOR_SECONDS)
        return actor


class EnsureAdmin:
    """Makes the first API key where there is none. Whoever starts the system may do it; it works once."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def execute(self, given_key: str | None = None) -> NewApiKey | None:
        """The new key, or ``None`` when an admin exists. ``given_key`` becomes the key; raises `Rejected` when it is
        malformed."""
        key = new_api_key()
        if given_key is not None:
            parsed = parse_api_key(given_key)
            if parsed is None:
                raise Rejected("ORRERY_API_KEY is not a well-formed API key", code="invalid_key")
            key = NewApiKey(given_key, parsed.id, secret_hash(parsed.secret))
        now = self._clock.now()
        made = await self._store.transact(
            lambda tx: tx.access.insert_key(key.id, DEFAULT_PROJECT, "admin", key.secret_hash, now)
        )
        return key if made else None
