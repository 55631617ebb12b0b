"""The open collection of addresses that must not be reached, through the whole executor on a network that only
pretends."""

import json
import os
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from scheduler_domain.run.outcome import Failed, Succeeded
from scheduler_infrastructure.execution.http import HttpExecutor
from scheduler_infrastructure.execution.outbound.addresses import AddressNotAllowed, AddressPolicy
from tests.support.attempts import CollectedLog, an_attempt
from tests.support.networks import PretendedNames, PretendedNetwork

CORPUS = Path(os.environ.get("ORRERY_CORPUS", Path(__file__).parents[2] / ".." / "shared" / "corpus"))
FILE = CORPUS / "ssrf" / "urls.jsonl"
HOSTS = {"localhost": [["127.0.0.1", "::1"]], "ip6-localhost": [["::1"]]}
REFUSALS = {"invalid_url", "unsupported_scheme", "address_not_allowed", "dns_error", "invalid_settings", "http_status"}


def cases() -> list[dict[str, Any]]:
    return [json.loads(line) for line in FILE.read_text().splitlines()] if FILE.exists() else []


def reaches_something_special(dialled: list[str]) -> bool:
    try:
        return any(AddressPolicy().check(address) != ip_address(address) for address in dialled)
    except AddressNotAllowed:
        return True


def network_for(case: dict[str, Any]) -> PretendedNetwork:
    if not (hops := case.get("redirects")):
        return PretendedNetwork()
    answer = f"HTTP/1.1 302 Found\r\nLocation: {hops[0]}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    return PretendedNetwork(answer.encode())


def names_for(case: dict[str, Any]) -> PretendedNames:
    single = {name: [addresses] for name, addresses in (case.get("dns") or {}).items()}
    return PretendedNames({**HOSTS, **single, **(case.get("dns_sequence") or {})})


@pytest.mark.skipif(not FILE.exists(), reason=f"no corpus: set ORRERY_CORPUS to the folder that holds {FILE.name}")
async def test_every_case_of_the_corpus_has_its_verdict(tmp_path: Path, record_property: Any) -> None:
    wrong = []
    for case in cases():
        network = network_for(case)
        executor = HttpExecutor(resolver=names_for(case), network=network)
        await executor.open()
        outcome = await executor.execute(an_attempt("http", {"url": case["url"]}, tmp_path), CollectedLog())
        await executor.close()
        refused = isinstance(outcome, Failed) and outcome.error.code in REFUSALS
        allowed = isinstance(outcome, Succeeded)
        special = reaches_something_special(network.dialled)
        as_expected = {"block": refused, "allow": allowed, "block-or-normalise": refused or allowed}[case["verdict"]]
        if special or not as_expected or (refused and not case.get("redirects") and network.dialled):
            wrong.append((case["id"], case["url"], outcome))
    total = len(cases())
    record_property("corpus cases passed", f"{total - len(wrong)} of {total}")
    assert total >= 60
    assert wrong == []


async def test_a_name_that_changes_its_mind_is_dialled_where_it_was_checked(tmp_path: Path) -> None:
    network = PretendedNetwork()
    names = PretendedNames({"rebind.example": [["93.184.216.34"], ["127.0.0.1"]]})
    executor = HttpExecutor(resolver=names, network=network)
    await executor.open()
    attempt = an_attempt("http", {"url": "http://rebind.example/"}, tmp_path)
    assert isinstance(await executor.execute(attempt, CollectedLog()), Succeeded)
    second = await executor.execute(attempt, CollectedLog())
    await executor.close()
    assert network.dialled == ["93.184.216.34"]
    assert isinstance(second, Failed)
    assert second.error.code == "address_not_allowed"


@pytest.mark.parametrize(
    "addresses", [["93.184.216.34", "10.0.0.1"], ["fd00::1"], ["93.184.216.34"] * 999 + ["127.0.0.1"]]
)
async def test_one_special_address_among_many_refuses_the_name(tmp_path: Path, addresses: list[str]) -> None:
    network = PretendedNetwork()
    executor = HttpExecutor(resolver=PretendedNames({"mixed.example": [addresses]}), network=network)
    await executor.open()
    outcome = await executor.execute(an_attempt("http", {"url": "http://mixed.example/"}, tmp_path), CollectedLog())
    await executor.close()
    assert isinstance(outcome, Failed)
    assert outcome.error.code == "address_not_allowed"
    assert not outcome.retryable
    assert network.dialled == []
