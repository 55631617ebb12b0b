"""Reading an answer within bounds, before and after decompression."""

import zlib
from collections.abc import AsyncIterator

MAX_BODY_BYTES = 10 * 1024 * 1024
MAX_RATIO = 100
_RATIO_FROM_BYTES = 64 * 1024
"""Below this size a high ratio is harmless, and short texts do reach it."""
_STEP_BYTES = 64 * 1024
_WINDOW_BITS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": 32 + zlib.MAX_WBITS}


class ResponseTooLarge(Exception):
    """The body goes over the bound, or swells like a decompression bomb."""


class UnreadableBody(Exception):
    """The body's encoding is one that is not read, or is broken."""


async def read_body(chunks: AsyncIterator[bytes], encoding: str, limit: int = MAX_BODY_BYTES) -> bytes:
    """The whole body, at most ``limit`` bytes, decoded from ``encoding`` (a Content-Encoding value; empty or
    ``identity``: as it comes)."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return await _collect(chunks, limit)
    if encoding not in _WINDOW_BITS:
        raise UnreadableBody(f"the answer is encoded as {encoding[:40]!r}; gzip and deflate are read")
    return await _inflate(chunks, _WINDOW_BITS[encoding], limit)


async def _collect(chunks: AsyncIterator[bytes], limit: int) -> bytes:
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        _check(len(body), 0, limit)
    return bytes(body)


async def _inflate(chunks: AsyncIterator[bytes], window_bits: int, limit: int) -> bytes:
    inflater = zlib.decompressobj(window_bits)
    body, received = bytearray(), 0
    async for chunk in chunks:
        received += len(chunk)
        rest = chunk
        while rest:
            try:
                body += inflater.decompress(rest, _STEP_BYTES)
            except zlib.error:
                raise UnreadableBody("the answer's compression is broken") from None
            _check(len(body), received, limit)
            rest = inflater.unconsumed_tail
    return bytes(body)


def _check(size: int, received: int, limit: int) -> None:
    if size > limit:
        raise ResponseTooLarge(f"the answer is larger than {limit} bytes")
    if received and size > _RATIO_FROM_BYTES and size > received * MAX_RATIO:
        raise ResponseTooLarge(f"the answer swells to more than {MAX_RATIO} times its size")
