"""What a setting may be: each function takes what the environment or the TOML file holds and gives the typed value.

They raise `ValueError` with what is accepted (``must be …``). The caller adds the setting's name; nobody shows the
value, which may be secret.
"""

import re
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from urllib.parse import SplitResult, urlsplit, urlunsplit

Parser = Callable[[object], object]
Network = IPv4Network | IPv6Network

_QUEUE = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")
_SECRET_PARAMETER = re.compile(r"(?i)([?&](?:password|passwd|passphrase|token|secret|sslpassword)=)[^&]*")
MASK = "***"


def text(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or "\x00" in value:
        raise ValueError("must be text that is not empty")
    return value.strip()


def key(value: object) -> str:
    """A credential as it goes into an HTTP header."""
    if not isinstance(value, str) or not re.fullmatch(r"[!-~]{1,200}", value):
        raise ValueError("must be a key of at most 200 printable ASCII characters, without spaces")
    return value


def path(value: object) -> Path:
    return Path(text(value)).expanduser().absolute()


def whole(low: int, high: int) -> Parser:
    def parse(value: object) -> int:
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,18}", value.strip()):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return value

    return parse


def seconds(low: float, high: float) -> Parser:
    def parse(value: object) -> float:
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,6})?", value.strip()):
            value = float(value)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise ValueError(f"must be a number of seconds from {low:g} to {high:g}")
        return float(value)

    return parse


def boolean(value: object) -> bool:
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        value = value.strip().lower() == "true"
    if value is True or value is False:
        return value
    raise ValueError("must be true or false")


def one_of(*choices: str) -> Parser:
    def parse(value: object) -> str:
        if value not in choices:
            raise ValueError(f"must be {' or '.join(choices)}")
        return str(value)

    return parse


def _items(value: object, accepted: str) -> list[str]:
    if isinstance(value, str):
        value = [item.strip() for item in value.split(",")]
    if not isinstance(value, list) or not value or not all(isinstance(item, str) and item for item in value):
        raise ValueError(accepted)
    return value


def queues(value: object) -> tuple[str, ...]:
    accepted = "must be names of queues, separated by commas (a-z, 0-9, '_', '.', '-'; at most 63 characters each)"
    names = _items(value, accepted)
    if not all(_QUEUE.fullmatch(name) for name in names):
        raise ValueError(accepted)
    return tuple(dict.fromkeys(names))


def networks(value: object) -> tuple[Network, ...]:
    accepted = "must be networks in CIDR form, separated by commas, e.g. 10.0.0.0/8,fd00::/8"
    try:
        return tuple(ip_network(item) for item in _items(value, accepted))
    except ValueError as error:
        raise ValueError(accepted) from error


def split_url(value: object, *schemes: str) -> SplitResult:
    """The parts of a URL whose scheme is one of ``schemes``; raises `ValueError` without naming the value."""
    accepted = f"must be a URL that begins with {' or '.join(f'{scheme}://' for scheme in schemes)}"
    if not isinstance(value, str) or not value.isprintable() or " " in value:
        raise ValueError(accepted)
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError as error:
        raise ValueError("must be a valid URL with a port from 1 to 65535") from error
    if port == 0:
        raise ValueError("must be a valid URL with a port from 1 to 65535")
    if parts.scheme not in schemes:
        raise ValueError(accepted)
    return parts


def url(*schemes: str) -> Parser:
    def parse(value: object) -> str:
        if not split_url(value, *schemes).hostname:
            raise ValueError(f"must name a host: {schemes[0]}://host…")
        return str(value).rstrip("/") if schemes[0].startswith("http") else str(value)

    return parse


def database(value: object) -> str:
    """``postgresql://user:password@host:port/database`` or ``sqlite:///path``."""
    parts = split_url(value, "postgresql", "sqlite")
    if parts.scheme == "sqlite" and (parts.netloc or len(parts.path) < 2):
        raise ValueError("must name a file: sqlite:///relative/path or sqlite:////absolute/path")
    if parts.scheme == "postgresql" and (not parts.hostname or len(parts.path) < 2):
        raise ValueError("must name a host and a database: postgresql://user:password@host:5432/database")
    return str(value)


def broker(value: object) -> str:
    if isinstance(value, str) and value.startswith(("redis://", "rediss://")):
        raise ValueError(
            "redis:// is not available yet: use amqp://… (RabbitMQ), or leave it out for the in-process one"
        )
    return str(url("amqp", "amqps")(value))


def project(value: object) -> str:
    if value != "default":
        raise ValueError("must be default: further projects are not available yet")
    return "default"


def masked_url(value: str) -> str:
    """``value`` without its password, for people."""
    try:
        parts = urlsplit(value)
        password = parts.password
    except ValueError:
        return MASK
    if password is not None:
        user, _, host = parts.netloc.rpartition("@")
        parts = parts._replace(netloc=f"{user.partition(':')[0]}:{MASK}@{host}")
    shown = urlunsplit(parts) if parts.netloc else value
    return _SECRET_PARAMETER.sub(rf"\g<1>{MASK}", shown)
