"""From a task's settings to the request that is sent, or to what is wrong with them."""

import re
from typing import Any

import httpx2
import msgspec

_MAX_URL = 2048
_CONTROL_OR_SPACE = re.compile(r"[\x00-\x20\x7f\\]")
_ESCAPED_CONTROL = re.compile(r"%(0[0-9a-f]|1[0-9a-f]|7f)", re.IGNORECASE)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SCHEMES = frozenset({"http", "https"})


class InvalidRequest(Exception):
    """The request cannot be made as it is written; ``code`` is the failure's."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


Scalar = str | int | float | bool | None


class Expectation(msgspec.Struct, forbid_unknown_fields=True):
    status: list[int]


class HttpSettings(msgspec.Struct, forbid_unknown_fields=True):
    """``body`` is sent as JSON, or as it is where it is text. Without ``expect`` any 2xx status is a success."""

    url: str
    method: str = "GET"
    headers: dict[str, str | int | float | bool] = {}
    query: dict[str, Scalar | list[Scalar]] = {}
    body: Any = msgspec.UNSET
    expect: Expectation | None = None

    def expects(self, status: int) -> bool:
        return status in self.expect.status if self.expect is not None else 200 <= status < 300


def build_request(settings: HttpSettings, added_headers: dict[str, str]) -> httpx2.Request:
    """Headers that the task sets itself win over ``added_headers``. Raises `InvalidRequest`."""
    method = settings.method.upper()
    if method not in _METHODS:
        raise InvalidRequest("invalid_settings", f"the method is one of {', '.join(sorted(_METHODS))}")
    url = parse_url(settings.url)
    content, content_type = _content(settings.body)
    headers = {"user-agent": "orrery", "accept": "*/*", "accept-encoding": "gzip, deflate", **added_headers}
    if content_type:
        headers["content-type"] = content_type
    for name, value in settings.headers.items():
        headers[name.lower()] = str(value)
    try:
        return httpx2.Request(method, url.copy_merge_params(settings.query), headers=headers, content=content)
    except (httpx2.InvalidURL, ValueError, TypeError) as error:
        raise InvalidRequest("invalid_settings", f"the request cannot be made: {error}") from None


def parse_url(text: str) -> httpx2.URL:
    """Raises `InvalidRequest` with ``invalid_url`` or ``unsupported_scheme``; never repeats the address, which may
    hold a secret."""
    if len(text) > _MAX_URL:
        raise InvalidRequest("invalid_url", f"the URL is longer than {_MAX_URL} characters")
    if _CONTROL_OR_SPACE.search(text) or _ESCAPED_CONTROL.search(text.partition("?")[0]):
        raise InvalidRequest("invalid_url", "the URL contains a space, a control character or a backslash")
    try:
        url = httpx2.URL(text)
    except (httpx2.InvalidURL, ValueError, TypeError):
        raise InvalidRequest("invalid_url", "the URL cannot be read") from None
    if url.scheme not in _SCHEMES:
        raise InvalidRequest("unsupported_scheme", "the URL must begin with http:// or https://")
    if not url.host or not url.host.strip("."):
        raise InvalidRequest("invalid_url", "the URL has no host")
    if url.port is not None and not 0 < url.port < 65536:
        raise InvalidRequest("invalid_url", "the URL's port must be between 1 and 65535")
    if url.userinfo or "@" in url.netloc.decode("ascii", "replace"):
        raise InvalidRequest("invalid_url", "the URL contains a user name or a password; send it as a header")
    return url


def _content(body: Any) -> tuple[bytes | None, str | None]:
    if body is msgspec.UNSET or body is None:
        return None, None
    if isinstance(body, str):
        return body.encode("utf-8", "replace"), "text/plain; charset=utf-8"
    return msgspec.json.encode(body), "application/json"
