"""What the worker and its keepers say to each other: frames of JSON over a stream socket, four bytes of length before
each.

Worker to keeper: ``{"argv", "env", "cwd", "batch"}`` with two to four file descriptors (stdout, stderr, and what the
process inherits from `INHERITED` on) starts a process, under ``SCHED_BATCH`` where ``batch`` is true; ``{"end":
seconds}`` ends it, with that pause between TERM and KILL.
Keeper to worker: ``{"ready"}`` once it is there, then one frame when nothing of the process tree is left, ``{"status",
"cpu", "rss"}`` (wait status, CPU seconds, largest resident set in KiB) or ``{"errno", "error"}`` when it could not be
started.
"""

import json
import socket
import struct
from typing import Any

HEADER = struct.Struct("!I")
MAX_DESCRIPTORS = 4
INHERITED = 3
"""The number under which a process finds the first descriptor that it inherits; a second one follows it."""
_DESCRIPTOR = struct.Struct("i")
_MAX_FRAME = 16 * 1024 * 1024


def encode(frame: dict[str, Any]) -> bytes:
    body = json.dumps(frame).encode()
    return HEADER.pack(len(body)) + body


def receive_descriptors(connection: socket.socket, size: int) -> tuple[bytes, list[int]]:
    """At most ``size`` bytes and the descriptors that came with them, closed on exec.

    `socket.recv_fds` takes flags and drops them (seen in CPython 3.11), so with it every descriptor would leak into the
    next task.
    """
    room = socket.CMSG_SPACE(MAX_DESCRIPTORS * _DESCRIPTOR.size)
    data, ancillary, _, _ = connection.recvmsg(size, room, socket.MSG_CMSG_CLOEXEC)
    descriptors: list[int] = []
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            whole = content[: len(content) - len(content) % _DESCRIPTOR.size]
            descriptors.extend(number for (number,) in _DESCRIPTOR.iter_unpack(whole))
    return data, descriptors


def receive(connection: socket.socket) -> tuple[dict[str, Any] | None, list[int]]:
    """Waits for one frame and the descriptors that came with it; the frame is ``None`` when the other side is gone."""
    descriptors: list[int] = []
    try:
        header = _receive_header(connection, descriptors)
        body = _receive_exactly(connection, HEADER.unpack(header)[0]) if header else None
    except ConnectionError:
        body = None
    return (None if body is None else json.loads(body)), descriptors


def _receive_header(connection: socket.socket, descriptors: list[int]) -> bytes | None:
    header = b""
    while len(header) < HEADER.size:
        data, received = receive_descriptors(connection, HEADER.size - len(header))
        descriptors.extend(received)
        if not data:
            return None
        header += data
    return header


def _receive_exactly(connection: socket.socket, size: int) -> bytes | None:
    if size > _MAX_FRAME:
        return None
    body = bytearray()
    while len(body) < size:
        data = connection.recv(min(size - len(body), 65536))
        if not data:
            return None
        body += data
    return bytes(body)
