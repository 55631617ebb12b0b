"""Workflows as Python functions: the same document that YAML gives.

A `workflow` function is called once with references instead of values, and each `task` that it calls becomes a node of
the definition.
"""

import inspect
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, NoReturn, ParamSpec, TypeVar, cast, get_args, get_origin, get_type_hints

from orrery.errors import InvalidWorkflow

P = ParamSpec("P")
R = TypeVar("R")

_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean", list: "array", dict: "object"}
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Reference:
    """A value that is known only when the workflow runs: an input, a task's output, or a part of one.

    ``path`` is its expression; ``task`` the key of the task that gives it, where one does.
    """

    def __init__(self, path: str, task: str | None = None) -> None:
        self.path = path
        self.task = task

    def __getitem__(self, key: object) -> "Reference":
        if not isinstance(key, str) or not _KEY.fullmatch(key):
            raise InvalidWorkflow(f"{self.path}[{key!r}]: only names can be taken out of it here")
        return Reference(f"{self.path}.{key}", self.task)

    def _unknown(self, *_: object) -> NoReturn:
        raise InvalidWorkflow(f"{self.path} is known only when the workflow runs: use it inside a task")

    __bool__ = __iter__ = __len__ = __contains__ = __int__ = __float__ = __str__ = __format__ = _unknown
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __add__ = __radd__ = __sub__ = __mul__ = _unknown
    __hash__ = None  # type: ignore[assignment]


@dataclass
class _Recording:
    """The nodes that the workflow function has made so far."""

    tasks: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(self, called: "Task[..., Any]", args: Mapping[str, Any]) -> Reference:
        key = self._free_key(called.name)
        needs: set[str] = {cast(str, result.task) for result in called.needs}
        node: dict[str, Any] = {"python": {"call": called.address, "args": _rendered(dict(args), needs)}}
        if needs:
            node["needs"] = [name for name in self.tasks if name in needs]
        self.tasks[key] = {**node, **called.options}
        return Reference(f"tasks.{key}.output", key)

    def _free_key(self, name: str) -> str:
        count = 1
        key = name
        while key in self.tasks:
            count += 1
            key = f"{name}_{count}"
        return key


_recording: ContextVar[_Recording | None] = ContextVar("recording", default=None)


@dataclass(frozen=True, eq=False)
class Task(Generic[P, R]):
    """A function that a workflow may call. Outside a workflow it is just that function."""

    function: Callable[P, R]
    options: Mapping[str, Any]
    needs: tuple[Reference, ...] = ()

    @property
    def name(self) -> str:
        return self.function.__name__

    @property
    def address(self) -> str:
        """``module:function``, as a worker imports it from the folder of the workflow's code."""
        module = self.function.__module__
        if module == "__main__":
            module = Path(sys.modules["__main__"].__file__ or "").stem
        return f"{module}:{self.function.__qualname__}"

    def after(self, *results: object) -> "Task[P, R]":
        """The same task, started only after the tasks whose ``results`` these are."""
        if not all(isinstance(result, Reference) and result.task for result in results):
            raise InvalidWorkflow(f"{self.name}.after() takes what tasks of the same workflow returned")
        return replace(self, needs=(*self.needs, *cast(tuple[Reference, ...], results)))

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        recording = _recording.get()
        if recording is None:
            return self.function(*args, **kwargs)
        try:
            bound = inspect.signature(self.function).bind(*args, **kwargs)
        except TypeError as error:
            raise InvalidWorkflow(f"{self.name}(): {error}") from error
        given: dict[str, Any] = {}
        for name, value in bound.arguments.items():
            kind = bound.signature.parameters[name].kind
            if kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.POSITIONAL_ONLY):
                raise InvalidWorkflow(f"{self.name}(): {name} must be an argument that has a name")
            given |= value if kind is inspect.Parameter.VAR_KEYWORD else {name: value}
        # The workflow's author sees the type that the task returns; what passes through here is a reference to it.
        return cast(R, recording.add(self, given))


@dataclass(frozen=True, eq=False)
class Workflow(Generic[P, R]):
    """A workflow function. Called directly, it calls its tasks at once, which is handy in tests."""

    function: Callable[P, R]
    name: str
    options: Mapping[str, Any]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    def definition(self) -> dict[str, Any]:
        """The document. Raises `InvalidWorkflow`."""
        inputs = _inputs(self.function)
        recording = _Recording()
        token = _recording.set(recording)
        try:
            cast(Callable[..., Any], self.function)(**{name: Reference(f"inputs.{name}") for name in inputs})
        finally:
            _recording.reset(token)
        document = {"workflow": self.name, **self.options, "inputs": inputs, "tasks": recording.tasks}
        return {key: value for key, value in document.items() if value not in (None, [], {}) or key == "tasks"}


def task(
    *,
    retry: int | Mapping[str, Any] | None = None,
    timeout: str | None = None,
    queue: str | None = None,
    priority: str | None = None,
    env: Mapping[str, str] | None = None,
    on_worker_loss: str | None = None,
) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Makes a function a task. ``retry`` is the number of attempts, or the mapping that a definition takes."""
    policy = {"attempts": retry} if isinstance(retry, int) else retry
    options = {
        "retry": policy,
        "timeout": timeout,
        "queue": queue,
        "priority": priority,
        "env": env,
        "on_worker_loss": on_worker_loss,
    }
    given = {name: value for name, value in options.items() if value is not None}
    return lambda function: Task(function, given)


def workflow(
    *,
    name: str,
    triggers: Sequence[Mapping[str, Any]] = (),
    expect: Sequence[Mapping[str, Any]] = (),
    description: str | None = None,
    concurrency: Mapping[str, Any] | None = None,
    timeout: str | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> Callable[[Callable[P, R]], Workflow[P, R]]:
    """Makes a function a workflow; its parameters become the inputs, its docstring the description.

    ``expect`` has the deadlines by which a run must have come to something, such as
    ``{"by": "06:00", "timezone": "Europe/Berlin", "state": "succeeded"}``.
    """

    def make(function: Callable[P, R]) -> Workflow[P, R]:
        options = {
            "description": description or inspect.getdoc(function),
            "triggers": [dict(trigger) for trigger in triggers],
            "expect": [dict(deadline) for deadline in expect],
            "concurrency": concurrency,
            "timeout": timeout,
            "defaults": defaults,
        }
        return Workflow(function, name, options)

    return make


def _rendered(value: Any, needs: set[str]) -> Any:
    """``value`` with references as expressions; adds the tasks that they name to ``needs``."""
    if isinstance(value, Reference):
        if value.task is not None:
            needs.add(value.task)
        return f"${{{{ {value.path} }}}}"
    if isinstance(value, Mapping):
        return {key: _rendered(item, needs) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rendered(item, needs) for item in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise InvalidWorkflow(f"a task takes JSON values and results of other tasks, not a {type(value).__name__}")


def _inputs(function: Callable[..., Any]) -> dict[str, dict[str, Any]]:
    hints = get_type_hints(function)
    inputs = {}
    for name, parameter in inspect.signature(function).parameters.items():
        declaration = _type(hints.get(name))
        if declaration is None:
            raise InvalidWorkflow(f"input {name} needs a type: str, int, float, bool, list or dict")
        if parameter.default is not inspect.Parameter.empty:
            declaration["default"] = parameter.default
        inputs[name] = declaration
    return inputs


def _type(hint: Any) -> dict[str, Any] | None:
    base = get_origin(hint) or hint
    if base not in _TYPES:
        return None
    declaration: dict[str, Any] = {"type": _TYPES[base]}
    arguments = get_args(hint)
    if base is list and arguments and (items := _type(arguments[0])):
        declaration["items"] = items
    return declaration
