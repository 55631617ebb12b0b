"""Each host has a breaker of its own."""

import pytest

from scheduler_application.errors import Unavailable
from scheduler_infrastructure.resilience import host_breakers
from scheduler_infrastructure.resilience.host_breakers import FAILURES, HostBreakers


class NotAllowed(Exception):
    """An answer about the request, not about the host."""


async def _fails() -> str:
    raise ConnectionError("refused")


async def _refuses() -> str:
    raise NotAllowed


async def _works() -> str:
    return "ok"


async def test_a_host_that_keeps_failing_is_left_alone_and_others_are_not() -> None:
    breakers = HostBreakers()
    for _ in range(FAILURES):
        with pytest.raises(ConnectionError):
            await breakers("down.example", _fails)
    with pytest.raises(Unavailable, match=r"down\.example"):
        await breakers("down.example", _works)
    assert await breakers("up.example", _works) == "ok"


async def test_refusals_of_the_request_itself_do_not_count() -> None:
    breakers = HostBreakers([NotAllowed])
    for _ in range(FAILURES + 1):
        with pytest.raises(NotAllowed):
            await breakers("host.example", _refuses)
    assert await breakers("host.example", _works) == "ok"


async def test_only_so_many_hosts_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_breakers, "MAX_HOSTS", 2)
    breakers = HostBreakers()
    for _ in range(FAILURES):
        with pytest.raises(ConnectionError):
            await breakers("first.example", _fails)
    for host in ("second.example", "third.example"):
        await breakers(host, _works)
    assert await breakers("first.example", _works) == "ok"
