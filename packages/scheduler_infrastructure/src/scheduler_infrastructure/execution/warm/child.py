"""What runs in a warm child: takes calls from descriptor 3, one at a time, and answers each.

It is started as a script, by whatever interpreter the tasks use, so it needs only the standard library and imports
nothing of ours. Frames are four bytes of length and JSON. A call is ``{"call", "args", "env", "folder", "output",
"artifacts"}``; the answer is ``{"kind", …}``: ``ok`` (``output``, or ``written`` when the task wrote the output file),
``exception``, ``import_error``, ``invalid_output``, ``exit`` (``message``, ``detail``, ``exit_code``), or ``stale``
(the source has changed since it was imported; nothing was called). ``doubt`` tells why this process should not be used
again; ``null`` where all is as before.
"""

# What a task raises may be anything, and strings and system calls instead of Path objects keep a call short.
# ruff: noqa: BLE001
from __future__ import annotations

import builtins
import ctypes
import importlib
import json
import os
import resource
import signal
import socket
import struct
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

_DESCRIPTOR = 3
_PR_SET_CHILD_SUBREAPER = 36
_MAX_OUTPUT = 64 * 1024
_MAX_GROWTH_KIB = 256 * 1024
_HEADER = struct.Struct("!I")
_BUILTINS = vars(builtins)
# What os.environ itself keeps: comparing it takes one microsecond, comparing os.environ forty.
_VARIABLES: dict[Any, Any] = os.environ._data  # type: ignore[attr-defined]  # noqa: SLF001


class Refused(Exception):
    """A call that ends without calling: the answer to give."""

    def __init__(self, **answer: Any) -> None:
        super().__init__(answer)
        self.answer = answer


class Source:
    """Remembers the files of the source folder that were imported, and notices when one changes."""

    def __init__(self, folder: str) -> None:
        self._prefix = folder + os.sep if folder else None
        self._known = 0
        self._times: dict[str, tuple[int, int] | None] = {}

    def changed(self) -> bool:
        return any(_modified(path) != time for path, time in self._times.items())

    def note_imports(self) -> None:
        if self._prefix is None or len(sys.modules) == self._known:
            return
        self._known = len(sys.modules)
        for module in list(sys.modules.values()):
            path = getattr(module, "__file__", None)
            if isinstance(path, str) and path.startswith(self._prefix) and path not in self._times:
                self._times[path] = _modified(path)


def _modified(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


class Innocence:
    """How the process looked before the first call; `doubt` says what a call has left behind."""

    def __init__(self) -> None:
        self._builtins = dict(_BUILTINS)
        self._patched = False
        self._streams = sys.stdout, sys.stderr
        self._pipes = self._identities()
        self._rss: int | None = None

    def restore_builtins(self) -> None:
        """Comes first: everything here needs them."""
        if self._builtins != _BUILTINS:
            _BUILTINS.update(self._builtins)
            for name in list(_BUILTINS.keys() - self._builtins.keys()):
                del _BUILTINS[name]
            self._patched = True

    def restore_streams(self) -> None:
        for stream in {sys.stdout, sys.stderr, *self._streams}:
            try:
                stream.flush()
            except (AttributeError, OSError, ValueError):
                continue
        sys.stdout, sys.stderr = self._streams

    def doubt(self) -> str | None:
        if threading.active_count() > 1:
            return "it left a thread running"
        if _has_children():
            return "it left a process running"
        if self._patched:
            return "it changed the builtins"
        if self._identities() != self._pipes:
            return "it closed or replaced its standard output"
        if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
            return "it handles SIGTERM"
        rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if self._rss is None:
            self._rss = rss
        return "it has grown" if rss > self._rss + _MAX_GROWTH_KIB else None

    @staticmethod
    def _identities() -> list[tuple[int, int]] | None:
        try:
            return [(found.st_dev, found.st_ino) for found in (os.fstat(1), os.fstat(2))]
        except OSError:
            return None


def _has_children() -> bool:
    # This process is a subreaper: what a call started and detached is a child of it as well.
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _resolve(name: str) -> Callable[..., Any]:
    """The callable that ``package.module:function`` names."""
    module_name, _, path = name.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
        for part in path.split("."):
            found = getattr(found, part)
    except BaseException as error:
        raise Refused(kind="import_error", **_described(error)) from None
    if not callable(found):
        raise Refused(kind="import_error", message=name + " is not callable", detail=None)
    function: Callable[..., Any] = found
    return function


def _described(error: BaseException) -> dict[str, Any]:
    try:
        message = type(error).__name__ + ": " + str(error)
    except Exception:
        message = type(error).__name__
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    lines = traceback.format_exception(type(error), error, trace, limit=-50)
    return {"message": message[:500], "detail": "".join(lines)[-4000:]}


def _run(function: Callable[..., Any], args: dict[str, Any], innocence: Innocence) -> Any:
    try:
        return _called(function, args, innocence)
    except SystemExit as error:
        if error.code in (None, 0):
            return None
        code = error.code if isinstance(error.code, int) else 1
        raise Refused(kind="exit", exit_code=code, **_described(error)) from None
    except BaseException as error:
        raise Refused(kind="exception", **_described(error)) from None


def _called(function: Callable[..., Any], args: dict[str, Any], innocence: Innocence) -> Any:
    try:
        value = function(**args)
        if hasattr(value, "__await__"):
            import asyncio  # noqa: PLC0415 - it takes longer to import than the rest of a start

            value = asyncio.run(_awaited(value))
    finally:
        innocence.restore_builtins()
    return value


async def _awaited(value: Any) -> Any:
    return await value


def _encoded(value: Any) -> str:
    try:
        text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise Refused(kind="invalid_output", message="the result is not JSON: " + str(error), detail=None) from None
    if len(text) > _MAX_OUTPUT:
        message = f"the result has {len(text)} bytes; at most {_MAX_OUTPUT} are kept"
        raise Refused(kind="invalid_output", message=message, detail=None)
    return text


def _enter(call: dict[str, Any]) -> None:
    """Every call begins in an empty folder; most find the one that the call before them left empty."""
    folder, artifacts = call["folder"], call["artifacts"]
    _empty(folder, keep={os.path.basename(artifacts)})
    _empty(artifacts, keep=set())
    os.chdir(folder)


def _leave(call: dict[str, Any]) -> str | None:
    """Removes what the call left, but for the output that the worker is about to read; says what it cannot."""
    os.chdir("/")
    try:
        _empty(call["folder"], keep={os.path.basename(call["artifacts"]), os.path.basename(call["output"])})
        _empty(call["artifacts"], keep=set())
    except OSError:
        return "it left files that cannot be removed"
    return None


def _empty(folder: str, keep: set[str]) -> None:
    """Makes ``folder``, or removes everything in it but ``keep``."""
    try:
        left = [name for name in os.listdir(folder) if name not in keep]
    except FileNotFoundError:
        os.mkdir(folder, 0o700)
        return
    except NotADirectoryError:
        os.unlink(folder)
        os.mkdir(folder, 0o700)
        return
    for name in left:
        path = os.path.join(folder, name)
        if os.path.isdir(path) and not os.path.islink(path):
            import shutil  # noqa: PLC0415 - it takes longer to import than the rest of a start

            shutil.rmtree(path)
        else:
            os.unlink(path)


def _perform(call: dict[str, Any], source: Source, innocence: Innocence) -> str:
    """Makes the call; returns the fields of the answer as JSON text."""
    if source.changed():
        return '"kind":"stale"'
    surroundings = None
    try:
        _enter(call)
        os.environ.update(call["env"])
        function = _resolve(call["call"])
        source.note_imports()
        surroundings = _VARIABLES.copy()
        value = _run(function, call["args"], innocence)
        if value is None and os.path.exists(call["output"]):
            return '"kind":"ok","written":true'
        return '"kind":"ok","output":' + _encoded(value)
    except Refused as refused:
        return json.dumps(refused.answer)[1:-1]
    except (OSError, ValueError) as error:
        return json.dumps({"kind": "spawn_error", "message": str(error)})[1:-1]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        _restore(surroundings, call["env"])


def _restore(surroundings: dict[Any, Any] | None, names: dict[str, str]) -> None:
    if surroundings is not None and surroundings != _VARIABLES:
        decoded = {os.fsdecode(name): os.fsdecode(value) for name, value in surroundings.items()}
        os.environ.clear()
        os.environ.update(decoded)
    for name in names:
        os.environ.pop(name, None)


def _receive(connection: socket.socket) -> bytes | None:
    header = _exactly(connection, _HEADER.size)
    return None if header is None else _exactly(connection, _HEADER.unpack(header)[0])


def _exactly(connection: socket.socket, size: int) -> bytes | None:
    data = connection.recv(size)
    while data and len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            return None
        data += more
    return data or None


def main() -> None:
    connection = socket.socket(fileno=_DESCRIPTOR)
    connection.set_inheritable(False)
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    folder = sys.argv[1]
    sys.argv[1:] = []
    sys.path[0:1] = [folder] if folder else []
    streams: list[Any] = [sys.stdout, sys.stderr]
    for stream in streams:
        stream.reconfigure(line_buffering=True, errors="backslashreplace")
    source, innocence = Source(folder), Innocence()
    while True:
        frame = _receive(connection)
        if frame is None:
            return
        call = json.loads(frame)
        answer = _perform(call, source, innocence)
        innocence.restore_streams()
        doubt = _leave(call) or innocence.doubt()
        body = ('{"doubt":' + json.dumps(doubt) + "," + answer + "}").encode()
        connection.sendall(_HEADER.pack(len(body)) + body)


if __name__ == "__main__":
    main()
