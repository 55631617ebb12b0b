"""A virtual host of its own on the broker, so that no other system's messages wake what is measured; and what the
broker has counted."""

import contextlib
import re
import sys
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

from benchmarks.servers import servers


@contextlib.contextmanager
def virtual_host(name: str) -> Iterator[str]:
    """The broker's address with a new virtual host ``name``, gone afterwards.

    Making one takes `rabbitmqctl` and root, beside a broker of this machine; elsewhere the address is used as it is,
    and a line on standard error says so.
    """
    url, control = servers().rabbitmq_url, servers().control
    parts = urlsplit(url)
    if control("add_vhost", name) is None:
        sys.stderr.write("no virtual host of its own could be made: other systems on this broker may disturb\n")
        yield url
        return
    try:
        control("set_permissions", "-p", name, parts.username or "guest", ".*", ".*", ".*")
        yield parts._replace(path=f"/{name}").geturl()
    finally:
        control("delete_vhost", name)


class Messages(NamedTuple):
    """What the whole broker, whoever uses it, has counted since it started."""

    published: int
    """With a confirm."""
    delivered: int
    acknowledged: int

    def since(self, before: "Messages") -> "Messages":
        return Messages(*(late - early for late, early in zip(self, before, strict=True)))


def messages() -> Messages | None:
    """None where the broker cannot be asked."""
    counters = servers().control("eval", "rabbit_global_counters:overview().")
    return None if counters is None else parse_counters(counters)


def parse_counters(text: str) -> Messages:
    """Sums over protocols and kinds of queues, from the Erlang term that the broker prints."""
    return Messages(
        _sum(text, "messages_received_confirm_total"),
        _sum(text, "messages_delivered_total"),
        _sum(text, "messages_acknowledged_total"),
    )


def _sum(text: str, name: str) -> int:
    return sum(int(number) for number in re.findall(rf"\b{name}\s*=>\s*(-?\d+)", text))
