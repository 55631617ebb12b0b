"""Where the server is and who asks: given by the caller, or found the way that the commands find it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

LOCAL_SERVER = "http://127.0.0.1:8080"
ADMIN_FILE = "admin.json"


@dataclass(frozen=True, slots=True)
class Connection:
    """``url`` is the server's root, without ``/api/v1``; without a key the server refuses what is not public."""

    url: str = LOCAL_SERVER
    api_key: str | None = None

    def __repr__(self) -> str:
        return f"Connection({self.url})"


def find_connection(environ: Mapping[str, str]) -> Connection:
    """From ``ORRERY_URL`` and ``ORRERY_API_KEY``; without a key, the local admin's from ``ORRERY_DATA_DIR``."""
    data_dir = Path(environ.get("ORRERY_DATA_DIR") or "orrery-data")
    return Connection(
        environ.get("ORRERY_URL") or LOCAL_SERVER, environ.get("ORRERY_API_KEY") or local_admin_key(data_dir)
    )


def local_admin_key(data_dir: Path) -> str | None:
    """The key in the data folder's ``admin.json``; ``None`` where this user cannot read one there."""
    try:
        content = json.loads((data_dir / ADMIN_FILE).read_bytes())
    except (OSError, ValueError):
        return None
    key = content.get("api_key") if isinstance(content, dict) else None
    return key if isinstance(key, str) else None
