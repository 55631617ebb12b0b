"""Tokens of ping addresses: ``orh_…``. The store holds a hash; the token itself is shown once."""

import re
import secrets
from dataclasses import dataclass

from scheduler_application.access import secret_hash

_BYTES = 32
TOKEN = re.compile(r"orh_[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token as its owner gets it, and what is stored of it."""

    text: str
    hash: str


def new_token() -> NewToken:
    """A token with 256 bits of chance."""
    text = f"orh_{secrets.token_urlsafe(_BYTES)}"
    return NewToken(text, secret_hash(text))


def token_hash(text: str) -> str | None:
    """What the store knows the token by; ``None`` for what cannot be one."""
    return secret_hash(text) if TOKEN.fullmatch(text) else None
