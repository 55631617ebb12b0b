"""What runs in a warm child: takes calls from descriptor 4, one at a time, and answers each on descriptor 3.

It is started as a script, by whatever interpreter the tasks use, so it needs only the standard library and imports
nothing of ours. A call is a message of its own, so that calls may line up and the worker can take back those that
have not begun: JSON, ``{"call", "args", "env", "folder"}``, where ``env`` names the output file and the folder of
artifacts; or, where it is long, ``L`` and four bytes of its length, and the JSON follows on descriptor 3. The answer is
four bytes of length and JSON, ``{"kind", …}``: ``ok`` (``output``, or ``written`` when the task wrote the output file),
``exception``, ``import_error``, ``invalid_output``, ``exit`` (``message``, ``detail``, ``exit_code``), or ``stale``
(the source has changed since it was imported; nothing was called). ``doubt`` says why this process should not be used
again, where there is a reason. With ``hold`` the next call begins only when the worker has sent one byte: it looks at
what the call has printed or written first, or ends the process.

What is done around every call is what an empty function costs, so it is counted in microseconds: variables stay from
call to call where they are the same, and a folder in which nothing was made is not listed.
"""

# What a task raises may be anything, and strings and system calls instead of Path objects keep a call short.
# ruff: noqa: BLE001
from __future__ import annotations

import builtins
import ctypes
import fcntl
import importlib
import json
import os
import resource
import select
import signal
import socket
import struct
import sys
import termios
import threading
import traceback
from collections.abc import Callable
from typing import Any

_ANSWERS = 3
_CALLS = 4
_LONG = b"L"
_PR_SET_CHILD_SUBREAPER = 36
_MAX_OUTPUT = 64 * 1024
_MAX_GROWTH_KIB = 256 * 1024
_CHUNK = 64 * 1024
_ANY_CHANGE = 0xFC0
"""What a watch on a folder notices: names made, removed or moved in it, and the folder itself moved or removed."""

_HEADER = struct.Struct("!I")
_NOTHING = bytes(4)
# Bound before a task can replace them, and without what json.dumps and json.loads look at on every call.
_encode = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode
_decode = json.JSONDecoder().raw_decode
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
    def has_printed() -> bool:
        """Whether output waits in the pipes. The worker empties them only while a call is slow, and then none follows
        until it has seen them empty."""
        try:
            return any(fcntl.ioctl(descriptor, termios.FIONREAD, _NOTHING) != _NOTHING for descriptor in (1, 2))
        except OSError:
            return True

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
    if value is None:
        return "null"
    try:
        text = _encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise Refused(kind="invalid_output", message="the result is not JSON: " + str(error), detail=None) from None
    if len(text) > _MAX_OUTPUT:
        message = f"the result has {len(text)} bytes; at most {_MAX_OUTPUT} are kept"
        raise Refused(kind="invalid_output", message=message, detail=None)
    return text


class Variables:
    """The variables of the call in `os.environ`; what is the same for the next call stays."""

    def __init__(self) -> None:
        self._of_the_call: dict[str, str | None] = {}
        self._entered: dict[Any, Any] = {}
        self._before: dict[Any, Any] | None = None

    def enter(self, wanted: dict[str, str]) -> None:
        present = self._of_the_call
        for name in [name for name in present if name not in wanted]:
            os.environ.pop(name, None)
            del present[name]
        for name, value in wanted.items():
            if present.get(name) != value:
                os.environ[name] = value
                present[name] = value
        self._entered = _VARIABLES.copy()

    def imported(self) -> None:
        """What importing has set stays, but for the variables of the call."""
        self._before = _VARIABLES.copy()
        if self._before != self._entered:
            self._of_the_call = dict.fromkeys(self._of_the_call)

    def leave(self) -> None:
        """Undoes what the call has changed."""
        before, self._before = self._before, None
        if before is not None and before != _VARIABLES:
            decoded = {os.fsdecode(name): os.fsdecode(value) for name, value in before.items()}
            os.environ.clear()
            os.environ.update(decoded)


class Folder:
    """The current folder of the calls, which is empty at the beginning of each, but for that of the artifacts.

    The kernel tells whether anything was made or removed in it. Where it cannot (it has a limit on such watches), the
    folder is listed after every call.
    """

    def __init__(self, libc: ctypes.CDLL) -> None:
        self._libc = libc
        self._watch: int = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self._polled = select.poll()
        if self._watch >= 0:
            self._polled.register(self._watch, select.POLLIN)
        self._watched = False
        self._path = self._artifacts = self._output = ""
        self._is_empty = False

    def enter(self, path: str, artifacts: str, output: str) -> None:
        if not self._is_empty or path != self._path:
            self._path, self._artifacts, self._output = path, artifacts, output
            _empty(path, keep={os.path.basename(artifacts)})
            _empty(artifacts, keep=set())
            self._watched = all([self._begin_watch(path), self._begin_watch(artifacts)])
            self._forget_events()
            self._is_empty = True
        os.chdir(path)

    def touched(self) -> bool:
        """Whether there may be anything in it."""
        if self._is_empty and (not self._watched or self._polled.poll(0)):
            self._is_empty = False
        return not self._is_empty

    def leave(self) -> str | None:
        """Removes what the call left, but for the output that the worker is about to read; says what it cannot."""
        if not self.touched():
            return None
        os.chdir("/")
        try:
            _empty(self._path, keep={os.path.basename(self._artifacts), os.path.basename(self._output)})
            _empty(self._artifacts, keep=set())
        except OSError:
            return "it left files that cannot be removed"
        return None

    def _begin_watch(self, path: str) -> bool:
        return self._watch >= 0 and int(self._libc.inotify_add_watch(self._watch, os.fsencode(path), _ANY_CHANGE)) >= 0

    def _forget_events(self) -> None:
        while self._watch >= 0 and self._polled.poll(0):
            try:
                os.read(self._watch, 65536)
            except OSError:  # The call before has closed it.
                self._watched, self._watch = False, -1


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


_HOLDING = ('"kind":"stale"', '"kind":"import_error"', '"kind":"spawn_error"', '"kind":"ok","written"')
"""Answers that the worker acts upon before anything else may happen here."""


class Child:
    """One process, and what it keeps between calls."""

    def __init__(self, source: str, libc: ctypes.CDLL) -> None:
        self._source = Source(source)
        self._innocence = Innocence()
        self._variables = Variables()
        self._folder = Folder(libc)

    def answer(self, call: dict[str, Any]) -> tuple[str, bool]:
        """The answer, and whether the next call has to wait for the worker."""
        fields = self._perform(call)
        self._innocence.restore_streams()
        doubt = self._folder.leave() or self._innocence.doubt()
        if doubt is not None:
            return '{"hold":true,"doubt":' + _encode(doubt) + "," + fields + "}", True
        # Text that is not Unicode cannot be kept: the worker ends a process whose answer it cannot read.
        if fields.startswith(_HOLDING) or "\\ud" in fields or self._innocence.has_printed():
            return '{"hold":true,' + fields + "}", True
        return "{" + fields + "}", False

    def _perform(self, call: dict[str, Any]) -> str:
        """Makes the call; returns the fields of the answer as JSON text."""
        if self._source.changed():
            return '"kind":"stale"'
        environment = call["env"]
        output = environment["ORRERY_OUTPUT"]
        try:
            self._folder.enter(call["folder"], environment["ORRERY_ARTIFACTS"], output)
            self._variables.enter(environment)
            function = _resolve(call["call"])
            self._source.note_imports()
            self._variables.imported()
            value = _run(function, call["args"], self._innocence)
            if value is None and self._folder.touched() and os.path.exists(output):
                return '"kind":"ok","written":true'
            return '"kind":"ok","output":' + _encoded(value)
        except Refused as refused:
            return _encode(refused.answer)[1:-1]
        except (OSError, ValueError) as error:
            return _encode({"kind": "spawn_error", "message": str(error)})[1:-1]
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            self._variables.leave()


def _receive(calls: socket.socket, answers: socket.socket) -> str | None:
    """The next call; ``None`` when the worker is gone, or the last call has closed what connects us."""
    try:
        data = calls.recv(_CHUNK)
        if data[:1] != _LONG:
            return data.decode() or None
        missing = _HEADER.unpack_from(data, 1)[0]
        parts = []
        while missing > 0:
            part = answers.recv(min(missing, _CHUNK))
            if not part:
                return None
            parts.append(part)
            missing -= len(part)
        return b"".join(parts).decode()
    except OSError:
        return None


def main() -> None:
    answers, calls = socket.socket(fileno=_ANSWERS), socket.socket(fileno=_CALLS)
    answers.set_inheritable(False)
    calls.set_inheritable(False)
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    folder = sys.argv[1]
    sys.argv[1:] = []
    sys.path[0:1] = [folder] if folder else []
    streams: list[Any] = [sys.stdout, sys.stderr]
    for stream in streams:
        stream.reconfigure(line_buffering=True, errors="backslashreplace")
    child = Child(folder, libc)
    while (frame := _receive(calls, answers)) is not None:
        call, _ = _decode(frame)
        text, hold = child.answer(call)
        body = text.encode()
        answers.sendall(_HEADER.pack(len(body)) + body)
        if hold and not answers.recv(1):
            return


if __name__ == "__main__":
    main()
