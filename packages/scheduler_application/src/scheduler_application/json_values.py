"""JSON values as text and back: the form in which the store keeps them."""

from typing import Any

import msgspec


def json_text(value: Any) -> str:
    """Raises `TypeError` for what is no JSON value."""
    return msgspec.json.encode(value).decode()


def json_value(text: str | None) -> Any:
    """The value; ``None`` for no text."""
    return None if text is None else msgspec.json.decode(text)
