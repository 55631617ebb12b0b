"""Secret values, hidden wherever text leaves a task: logs, outputs, errors. Pure; start at `Masking`."""

import base64
import json
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any
from urllib.parse import quote, quote_plus

MASK = "***"

MIN_SECRET_BYTES = 6
"""Shorter values (``true``, ``root``) are common words: hiding them would garble everything."""

_MIN_CUT_BYTES = 4
_MASK_BYTES = MASK.encode()
_MAX_DEPTH = 200


class Masking:
    """Hides ``secrets`` as they are and in the encodings in which values leak: base64 at any alignment, URL,
    hexadecimal, JSON, reversed.

    Of a secret of several lines each line is a secret too. Where two overlap in a text, no byte of either stays.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        self._forms = tuple(sorted(set(chain.from_iterable(map(_forms, secrets))), key=len, reverse=True))
        self._one_line = tuple(form for form in self._forms if b"\n" not in form)
        self._many_lines = tuple(form for form in self._forms if b"\n" in form)

    @property
    def hides_nothing(self) -> bool:
        return not self._forms

    def text(self, text: str) -> str:
        """``text`` without any secret."""
        if self.hides_nothing:
            return text
        data = text.encode(errors="surrogatepass")
        if not any(form in data for form in self._forms):
            return text
        return self.data(data).decode(errors="surrogatepass")

    def cut_text(self, text: str) -> str:
        """The same for a piece of a longer text, at whose ends the rest of a secret may stand."""
        if self.hides_nothing:
            return text
        data = text.encode(errors="surrogatepass")
        head = max((_overlap(form, data) for form in self._forms), default=0)
        data = _MASK_BYTES + data[head:] if head >= _MIN_CUT_BYTES else data
        tail = max((_overlap(data, form) for form in self._forms), default=0)
        data = data[: len(data) - tail] + _MASK_BYTES if tail >= _MIN_CUT_BYTES else data
        return self.data(data).decode(errors="replace")

    def data(self, data: bytes) -> bytes:
        """``data`` without any secret."""
        return MaskedStream(self).feed(data, last=True)

    def value(self, value: Any) -> Any:
        """A JSON value without any secret in its strings, names and numbers."""
        return value if self.hides_nothing else self._value(value, 0)

    def found(self, data: bytes) -> list[tuple[int, int]]:
        """Where ``data`` holds secrets: disjoint (start, end), in order; those that overlap are one."""
        merged: list[tuple[int, int]] = []
        for start, end in sorted(chain.from_iterable(_occurrences(data, form) for form in self._forms)):
            if merged and start < merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        return merged

    def undecided(self, data: bytes) -> int:
        """From where on ``data`` may hold the beginning of a secret that what follows completes."""
        first = len(data)
        line = data.rfind(b"\n") + 1
        for forms, earliest in ((self._one_line, line), (self._many_lines, 0)):
            for form in forms:
                first = min(first, _beginning(data, form, earliest))
        return first

    def _value(self, value: Any, depth: int) -> Any:
        if depth > _MAX_DEPTH:
            return MASK
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(str(key)): self._value(item, depth + 1) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._value(item, depth + 1) for item in value]
        if isinstance(value, int | float) and not isinstance(value, bool) and self.found(str(value).encode()):
            return MASK
        return value


class MaskedStream:
    """The same for a text that arrives in pieces: whatever its pieces are, the result is that of the whole text.

    Only an end that may be the beginning of a secret is held back, so that lines pass at once.
    """

    def __init__(self, masking: Masking) -> None:
        self._masking = masking
        self._held = b""
        self._hidden = 0  # how many bytes of `_held` belong to a secret whose mask was given out already

    def feed(self, data: bytes, *, last: bool = False) -> bytes:
        """What may be shown now; ``last`` says that nothing follows."""
        if self._masking.hides_nothing:
            return data
        data = self._held + data
        end = len(data) if last else self._masking.undecided(data)
        shown, hidden = self._show(data, end)
        self._held, self._hidden = data[end:], max(hidden - end, 0)
        return shown

    def _show(self, data: bytes, end: int) -> tuple[bytes, int]:
        """``data`` up to ``end``, masked, and where the last secret that begins before ``end`` ends."""
        parts: list[bytes] = []
        position = self._hidden
        for start, stop in self._masking.found(data):
            if start >= end:
                break
            if start >= position:
                parts += (data[position:start], _MASK_BYTES)
            position = max(position, stop)
        if position < end:
            parts.append(data[position:end])
        return b"".join(parts), position


def _forms(secret: str) -> Iterator[bytes]:
    for text in {secret, secret.strip(), *secret.splitlines(), *(line.strip() for line in secret.splitlines())}:
        data = text.encode(errors="surrogatepass")
        if len(data) < MIN_SECRET_BYTES:
            continue
        yield data
        yield data[::-1]
        for encoded in chain(_texts(text, data), _base64(data)):
            if len(encoded) >= MIN_SECRET_BYTES:
                yield encoded


def _texts(text: str, data: bytes) -> Iterator[bytes]:
    yield data.hex().encode()
    yield data.hex().upper().encode()
    for quoted in (quote(data, safe=""), quote(data), quote_plus(data)):
        yield quoted.encode()
        yield _lower_escapes(quoted).encode()
    for ascii_only in (True, False):
        yield json.dumps(text, ensure_ascii=ascii_only)[1:-1].encode(errors="surrogatepass")


def _lower_escapes(quoted: str) -> str:
    """``%2F`` as ``%2f``."""
    head, *rest = quoted.split("%")
    return head + "".join(f"%{part[:2].lower()}{part[2:]}" for part in rest)


def _base64(data: bytes) -> Iterator[bytes]:
    """The characters that depend on nothing but ``data``, for each of its three possible places in a longer text."""
    for before in range(3):
        padded = bytes(before) + data
        first, last = -(-before * 8 // 6), len(padded) * 8 // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(padded)[first:last]


def _occurrences(data: bytes, form: bytes) -> Iterator[tuple[int, int]]:
    start = data.find(form)
    while start >= 0:
        yield start, start + len(form)
        start = data.find(form, start + 1)


def _beginning(data: bytes, form: bytes, earliest: int) -> int:
    """The first place from ``earliest`` on from which all the rest of ``data`` is a proper beginning of ``form``."""
    start = data.find(form[:1], max(earliest, len(data) - len(form) + 1))
    while start >= 0:
        if form.startswith(data[start:]):
            return start
        start = data.find(form[:1], start + 1)
    return len(data)


def _overlap(before: bytes, after: bytes) -> int:
    """How many bytes a proper end of ``before`` and the beginning of ``after`` share at most."""
    return next(
        (size for size in range(min(len(before) - 1, len(after)), 0, -1) if after.startswith(before[-size:])), 0
    )
