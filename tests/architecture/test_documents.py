"""The documents in step with what they speak of."""

import re

import pytest

from tests.architecture.source import ROOT

DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/**/*.md", "deploy/**/*.md")
    for path in ROOT.glob(pattern)
)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_inside_the_repository_leads_somewhere(document: str) -> None:
    path = ROOT / document
    targets = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", path.read_text())
    assert [target for target in targets if not (path.parent / target).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_make_target_that_is_named_exists(document: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", (ROOT / document).read_text(), re.MULTILINE))
    assert named <= targets


def test_every_decision_has_the_parts_of_the_template() -> None:
    folder = ROOT / "docs/architecture/decisions"
    parts = re.findall(r"^## .+$", (folder / "0000-template.md").read_text(), re.MULTILINE)
    assert parts
    for record in folder.glob("[0-9]*.md"):
        assert re.findall(r"^## .+$", record.read_text(), re.MULTILINE) == parts, record.name


def test_every_test_setting_that_is_documented_is_read_by_the_tests() -> None:
    read = "".join(path.read_text() for folder in ("tests", ".ci") for path in (ROOT / folder).rglob("*.py"))
    named = set(re.findall(r"ORRERY_TEST_\w+", (ROOT / "CONTRIBUTING.md").read_text()))
    assert {name for name in named if name not in read} == set()
