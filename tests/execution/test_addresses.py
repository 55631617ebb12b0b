"""Which addresses a request may reach (the rules of `outbound.addresses`)."""

import pytest

from scheduler_infrastructure.execution.outbound.addresses import AddressNotAllowed, AddressPolicy

REFUSED = [
    "127.0.0.1", "127.255.255.254", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
    "100.64.0.1", "100.100.100.200", "169.254.169.254", "192.0.0.192", "192.0.0.9", "192.88.99.1", "198.18.0.1",
    "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "192.0.2.1",
    "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:10.0.0.1",
    "64:ff9b::a9fe:a9fe", "64:ff9b::7f00:1", "64:ff9b:1:a00:0:100::", "64:ff9b:1:808:8:800::a9fe:a9fe",
    "2002:a9fe:a9fe::", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "fd00:ec2::254", "fc00::1", "fe80::1",
    "fe80::1%eth0", "fec0::1", "ff02::1", "2001:db8::1", "3fff::1", "5f00::1", "100::1",
]  # fmt: skip
REACHED = ["8.8.8.8", "172.15.255.255", "100.128.0.0", "2606:4700:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8"]


@pytest.mark.parametrize("address", REFUSED)
def test_special_addresses_are_refused(address: str) -> None:
    with pytest.raises(AddressNotAllowed):
        AddressPolicy().check(address)


@pytest.mark.parametrize("address", REACHED)
def test_public_addresses_are_reached(address: str) -> None:
    AddressPolicy().check(address)


@pytest.mark.parametrize("address", ["127.0.0.1", "::ffff:127.0.0.1", "10.1.2.3", "fd12::1"])
def test_allowed_networks_are_reached_in_whatever_form_the_address_is_written(address: str) -> None:
    AddressPolicy(["127.0.0.0/8", "10.0.0.0/8", "fd00::/8"]).check(address)


@pytest.mark.parametrize("address", ["169.254.169.254", "100.100.100.200", "192.0.0.192", "fd00:ec2::254"])
def test_metadata_services_are_refused_whatever_is_allowed(address: str) -> None:
    with pytest.raises(AddressNotAllowed):
        AddressPolicy(["0.0.0.0/0", "::/0"]).check(address)


def test_a_network_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(ValueError):
        AddressPolicy(["10.0.0.1/8"])
