"""Finds the workflows of a Python file by importing it, as the worker will import its tasks."""

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from orrery.authoring import Workflow
from orrery.errors import InvalidWorkflow


def load_definitions(file: Path) -> list[dict[str, Any]]:
    """The document of every `workflow` of ``file``, in order of their names in it. Executes the file's code."""
    found = [value for value in vars(_import(file)).values() if isinstance(value, Workflow)]
    workflows = [entry for entry in found if entry.function.__module__ == file.stem]
    if not workflows:
        raise InvalidWorkflow("defines no workflow: a function with @workflow(name=…)")
    return [entry.definition() for entry in workflows]


def _import(file: Path) -> ModuleType:
    name = file.stem
    if not name.isidentifier() or name in sys.stdlib_module_names:
        raise InvalidWorkflow("needs another name: workers import it by its name, beside Python's own modules")
    spec = importlib.util.spec_from_file_location(name, file.absolute())
    if spec is None or spec.loader is None:
        raise InvalidWorkflow("is not a Python file")
    module = importlib.util.module_from_spec(spec)
    with _importable(name, module, file.absolute().parent):
        try:
            spec.loader.exec_module(module)
        except InvalidWorkflow:
            raise
        except SyntaxError as error:
            raise InvalidWorkflow(f"line {error.lineno}: {error.msg}") from error
        except (Exception, SystemExit) as error:
            raise InvalidWorkflow(f"cannot be imported: {type(error).__name__}: {error}") from error
    return module


@contextmanager
def _importable(name: str, module: ModuleType, folder: Path) -> Iterator[None]:
    """The module under its name, and its neighbours importable, while it is executed."""
    before = sys.modules.get(name)
    sys.modules[name] = module
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        if before is None:
            del sys.modules[name]
        else:
            sys.modules[name] = before
