"""Crontabs as they are out there, read as Debian's cron reads them."""

from collections import Counter
from typing import Any

import pytest

from scheduler_application.importing.crontab import Crontab, Entry, Form, decode
from scheduler_application.importing.form import read_any
from tests.support.corpus import CORPUS, cases, needs_corpus

pytestmark = needs_corpus

CRONTABS = cases("crontabs", "index.jsonl")


def read(case: dict[str, Any], form: Form | None = None) -> Crontab:
    text = decode((CORPUS / case["file"]).read_bytes())
    return read_any(text, case["source_path"] or case["file"], form)[0]


def as_listed(entry: Entry) -> dict[str, Any]:
    found: dict[str, Any] = {"line": entry.line, "schedule": entry.schedule, "command": entry.command}
    found |= {"user": entry.user} if entry.user is not None else {}
    found |= {"stdin": entry.stdin} if entry.stdin is not None else {}
    return found | ({"env": dict(entry.environment)} if entry.environment else {})


@pytest.mark.parametrize("case", CRONTABS, ids=lambda case: str(case["file"]))
def test_every_line_is_an_entry_a_variable_or_refused_as_debian_has_it(case: dict[str, Any]) -> None:
    crontab = read(case, Form(case["form"]))
    if "expected" not in case:
        assert (crontab.form, len(crontab.entries), crontab.refused) == (Form.ANACRON, 3, [])
        return
    expected = case["expected"]
    told = {"note", "silently_ignored"}
    entries = [{key: value for key, value in entry.items() if key not in told} for entry in expected["entries"]]
    assert [as_listed(entry) for entry in crontab.entries] == entries
    assert [(line.line, line.text) for line in crontab.refused] == [
        (line["line"], line["text"]) for line in expected["errors"]
    ]
    assert [(each.line, each.name, each.value) for each in crontab.variables] == [
        (each["line"], each["name"], each["value"]) for each in expected["env"]
    ]
    if "debian_installs" in case:
        assert case["debian_installs"] == (not crontab.faults)


@pytest.mark.parametrize("case", CRONTABS, ids=lambda case: str(case["file"]))
def test_the_form_is_found_without_being_told(case: dict[str, Any]) -> None:
    assert read(case).form == case["form"]


def test_the_whole_corpus_of_crontabs_is_there() -> None:
    assert Counter(case["form"] for case in CRONTABS) == {"user": 11, "system": 11, "anacron": 1}
    assert sum(len(case.get("expected", {}).get("entries", ())) for case in CRONTABS) == 70
