"""Which IP addresses an outgoing request may reach: public ones, and those of networks that the operator allows.

`ipaddress.is_global` is the start, not the answer: it calls several translation and special-purpose ranges global.
Sources: the IANA special-purpose address registries; RFC 6052 and RFC 8215 for the form of translated addresses.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

_METADATA = tuple(
    ip_network(text) for text in ("169.254.0.0/16", "100.100.100.200/32", "192.0.0.192/32", "fd00:ec2::254/128")
)
"""Where clouds hand out credentials: refused whatever is allowed."""

_NOT_PUBLIC = tuple(
    ip_network(text)
    for text in (
        "192.0.0.0/24",
        "192.88.99.0/24",
        "::/96",  # IPv4-compatible
        "2001::/23",  # protocol assignments, Teredo among them
        "2002::/16",  # 6to4
        "3fff::/20",
        "5f00::/16",
        "fec0::/10",
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")
_NAT64_LOCAL = IPv6Network("64:ff9b:1::/48")


class AddressNotAllowed(Exception):
    """The name or address leads where requests may not go; the message says what was refused."""


class AddressPolicy:
    """``allowed`` networks are let through although they are not public."""

    def __init__(self, allowed: Sequence[str] = ()) -> None:
        self._allowed = tuple(ip_network(text) for text in allowed)

    def check(self, text: str) -> Address:
        """The address to connect to; raises `AddressNotAllowed`."""
        try:
            address = ip_address(text)
        except ValueError:
            raise AddressNotAllowed("the name leads to something that is not an IP address") from None
        if not self._may_reach(_translated(address)):
            raise AddressNotAllowed(f"{address} is not a public address and not in an allowed network")
        return address

    def _may_reach(self, address: Address | None) -> bool:
        if address is None or _within(address, _METADATA):
            return False
        if _within(address, self._allowed):
            return True
        if isinstance(address, IPv6Address) and address.scope_id is not None:
            return False
        return address.is_global and not address.is_multicast and not _within(address, _NOT_PUBLIC)


def _within(address: Address, networks: tuple[Network, ...]) -> bool:
    return any(address.version == network.version and address in network for network in networks)


def _translated(address: Address) -> Address | None:
    """The IPv4 address that an IPv6 address stands for, where it does; ``None`` where one cannot tell."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    if address in _NAT64_LOCAL:
        # RFC 6052, 2.2: with a /48 prefix bits 48-63 and 72-87 hold the address, the rest is zero.
        bits = int(address)
        embedded = (((bits >> 64) & 0xFFFF) << 16) | ((bits >> 40) & 0xFFFF)
        rest = bits & ((0xFF << 56) | ((1 << 40) - 1))
        return None if rest else IPv4Address(embedded)
    return address
