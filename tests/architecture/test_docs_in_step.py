"""What the documents say of settings, commands, the HTTP API and definitions is what the code has."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from scheduler_application.workflow.schema import workflow_json_schema
from scheduler_domain.workflow.expression_functions import FUNCTIONS
from tests.architecture.made_documents import MADE, functions_table, with_made_part
from tests.architecture.source import ROOT


@pytest.mark.parametrize("document", MADE)
def test_what_is_made_from_the_code_is_up_to_date(document: str) -> None:
    text = (ROOT / document).read_text()
    assert with_made_part(text, MADE[document]()) == text, "run `make docs` and commit what it changes"


def test_every_function_of_expressions_is_in_the_table() -> None:
    """The table is a docstring: a new function could be forgotten there."""
    assert {name for name in FUNCTIONS if f"`{name}(" not in functions_table()} == set()


def test_every_key_of_a_definition_is_in_its_reference() -> None:
    text = (ROOT / "docs/guides/workflow-reference.md").read_text()
    named = set(re.findall(r"`([a-z_]+)`", text))
    assert set(_keys(workflow_json_schema())) - named == set()


def test_every_guarantee_names_tests_that_exist() -> None:
    text = (ROOT / "docs/architecture/guarantees.md").read_text()
    named = re.findall(r"\[`(test_\w+)`\]\(\.\./\.\./(tests/[\w/]+\.py)\)", text)
    assert named
    assert [test for test, file in named if f"def {test}(" not in (ROOT / file).read_text()] == []


def _keys(schema: Any) -> Iterator[str]:
    """Every name of a property in a JSON Schema."""
    if isinstance(schema, dict):
        properties = schema.get("properties")
        if isinstance(properties, dict) and "type" in schema and isinstance(schema["type"], str):
            yield from properties
        for member in json.loads(json.dumps(list(schema.values()))):
            yield from _keys(member)
    elif isinstance(schema, list):
        for member in schema:
            yield from _keys(member)
