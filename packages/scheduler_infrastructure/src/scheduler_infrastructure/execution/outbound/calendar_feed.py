"""Calendars that others publish, fetched like everything that leaves this system: only from addresses that the policy
allows, for so many seconds, so many bytes."""

import asyncio
import ssl
from collections.abc import Sequence

import httpcore2
import httpx2

from scheduler_application.errors import Rejected
from scheduler_application.ports.calendars import FetchedText, Validators
from scheduler_domain.errors import InvalidDefinition, Problem
from scheduler_infrastructure.execution.outbound.addresses import AddressNotAllowed, AddressPolicy
from scheduler_infrastructure.execution.outbound.body import ResponseTooLarge, UnreadableBody, read_body
from scheduler_infrastructure.execution.outbound.network import GuardedNetwork, NameNotResolved, Resolver, resolve
from scheduler_infrastructure.execution.outbound.request import InvalidRequest, parse_url

FETCH_SECONDS = 5.0
MAX_BYTES = 1024 * 1024
MAX_REDIRECTS = 3
_MAX_VALIDATOR = 1_000
_WEBCAL = "webcal://"
_REDIRECTS = frozenset({301, 302, 303, 307, 308})

_CODES: dict[type[Exception], str] = {
    AddressNotAllowed: "address_not_allowed",
    NameNotResolved: "feed_unreachable",
    ResponseTooLarge: "feed_too_large",
    UnreadableBody: "feed_unreachable",
}


class GuardedFeeds:
    """`CalendarFeeds`. ``allowed_networks`` (CIDR) are reached although they are not public; ``seconds`` is for one
    fetch with its redirects."""

    def __init__(
        self,
        *,
        allowed_networks: Sequence[str] = (),
        resolver: Resolver = resolve,
        network: httpcore2.AsyncNetworkBackend | None = None,
        verify: ssl.SSLContext | bool = True,
        seconds: float = FETCH_SECONDS,
    ) -> None:
        self._network = GuardedNetwork(AddressPolicy(allowed_networks), resolver, network)
        self._verify = verify
        self._seconds = seconds

    def check(self, url: str) -> None:
        _address(url)

    async def fetch(self, url: str, known: Validators) -> FetchedText | None:
        # Fetches are rare: a pool that lives as long as the process would only hold connections open.
        transport = httpx2.AsyncHTTPTransport(verify=self._verify, trust_env=False)
        # httpx2 has no public way to say how its pool connects.
        transport._pool._network_backend = self._network  # noqa: SLF001
        try:
            async with asyncio.timeout(self._seconds):
                return await _follow(transport, _address(url), known)
        except TimeoutError:
            raise _failed("feed_unreachable", f"did not answer within {self._seconds:g} s") from None
        except (AddressNotAllowed, NameNotResolved, ResponseTooLarge, UnreadableBody) as error:
            raise _failed(_CODES[type(error)], f"cannot be fetched: {error}") from None
        except InvalidDefinition as error:
            raise _failed("feed_unreachable", f"leads on to an address that is not accepted: {error}") from None
        except httpx2.HTTPError as error:
            raise _failed("feed_unreachable", f"cannot be fetched: {type(error).__name__} {error}".strip()) from None
        finally:
            await transport.aclose()


async def _follow(transport: httpx2.AsyncHTTPTransport, url: httpx2.URL, known: Validators) -> FetchedText | None:
    for _ in range(MAX_REDIRECTS + 1):
        response = await transport.handle_async_request(_request(url, known))
        try:
            if response.status_code in _REDIRECTS and "location" in response.headers:
                url = _next(url, response.headers["location"])
                continue
            return await _read(response, known)
        finally:
            await response.aclose()
    raise _failed("feed_unreachable", f"leads on more than {MAX_REDIRECTS} times")


async def _read(response: httpx2.Response, known: Validators) -> FetchedText | None:
    if response.status_code == 304 and known != Validators():
        return None
    if response.status_code != 200:
        raise _failed("feed_status", f"answered with status {response.status_code}, not with a calendar")
    content = await read_body(response.aiter_raw(), response.headers.get("content-encoding", ""), MAX_BYTES)
    return FetchedText(content, Validators(_validator(response, "etag"), _validator(response, "last-modified")))


def _validator(response: httpx2.Response, name: str) -> str | None:
    text = response.headers.get(name, "")
    return text if 0 < len(text) <= _MAX_VALIDATOR and text.isascii() and text.isprintable() else None


def _request(url: httpx2.URL, known: Validators) -> httpx2.Request:
    headers = {"user-agent": "orrery", "accept": "text/calendar, */*;q=0.1", "accept-encoding": "gzip, deflate"}
    if known.etag is not None:
        headers["if-none-match"] = known.etag
    if known.last_modified is not None:
        headers["if-modified-since"] = known.last_modified
    return httpx2.Request("GET", url, headers=headers)


def _address(text: str) -> httpx2.URL:
    """``webcal`` is what calendar programs call https. Raises `InvalidDefinition`."""
    if text.lower().startswith(_WEBCAL):
        text = f"https://{text[len(_WEBCAL) :]}"
    try:
        return parse_url(text)
    except InvalidRequest as error:
        raise InvalidDefinition([Problem(("url",), error.code, str(error))]) from None


def _next(url: httpx2.URL, location: str) -> httpx2.URL:
    try:
        following = _address(str(url.join(location)))
    except (httpx2.InvalidURL, ValueError):
        raise _failed("feed_unreachable", "leads on to an address that cannot be read") from None
    if url.scheme == "https" and following.scheme != "https":
        raise _failed("feed_unreachable", "leads on from https to http")
    return following


def _failed(code: str, what: str) -> Rejected:
    """The address is not repeated: that of a private calendar is a secret."""
    return Rejected(f"the calendar's address {what}"[:500], code=code)
