"""A virtual host of its own on the broker, so that no other system's messages wake what is measured."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from urllib.parse import urlsplit

CONTROL_SECONDS = 30.0


@contextlib.contextmanager
def virtual_host(url: str, name: str) -> Iterator[str]:
    """``url`` with a new virtual host ``name``, gone afterwards.

    Making one takes `rabbitmqctl` and root, beside a broker of this machine; elsewhere ``url`` is used as it is, and a
    line on standard error says so.
    """
    parts = urlsplit(url)
    local = parts.hostname in ("127.0.0.1", "localhost", "::1")
    if not local or os.geteuid() != 0 or shutil.which("rabbitmqctl") is None or not _control("add_vhost", name):
        sys.stderr.write("no virtual host of its own could be made: other systems on this broker may disturb\n")
        yield url
        return
    try:
        _control("set_permissions", "-p", name, parts.username or "guest", ".*", ".*", ".*")
        yield parts._replace(path=f"/{name}").geturl()
    finally:
        _control("delete_vhost", name)


def _control(*arguments: str) -> bool:
    command = ["rabbitmqctl", "--quiet", *arguments]
    return subprocess.run(command, capture_output=True, timeout=CONTROL_SECONDS, check=False).returncode == 0
