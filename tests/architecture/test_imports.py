"""Walls that import-linter cannot draw, and the linter itself, so that one command tests everything."""

import os
import subprocess
import sys
from pathlib import Path

from tests.architecture.source import ROOT, imported_modules, sources


def test_the_domain_imports_only_the_standard_library_and_itself() -> None:
    allowed = sys.stdlib_module_names | {"scheduler_domain"}
    foreign = [
        f"{source.at(node)} imports {module}"
        for source in sources("packages/scheduler_domain/src")
        for node, module in imported_modules(source)
        if module.partition(".")[0] not in allowed
    ]
    assert foreign == []


def test_the_application_imports_only_what_it_declares() -> None:
    allowed = sys.stdlib_module_names | {"scheduler_domain", "scheduler_application", "msgspec", "ruamel"}
    foreign = [
        f"{source.at(node)} imports {module}"
        for source in sources("packages/scheduler_application/src")
        for node, module in imported_modules(source)
        if module.partition(".")[0] not in allowed
    ]
    assert foreign == []


def test_a_relative_import_never_hides_a_layer() -> None:
    """A relative import says nothing about the layer it reaches, and moves with its file."""
    relative = [
        source.path
        for source in sources("packages", "services")
        if any(getattr(node, "level", 0) for node in source.tree.body)
    ]
    assert relative == []


def test_every_contract_between_the_layers_is_kept() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run(
        [linter, "--no-cache"],
        cwd=ROOT,
        env={**os.environ, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
