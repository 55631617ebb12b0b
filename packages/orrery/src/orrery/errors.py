"""What can go wrong when a program talks to Orrery, named by what to do about it.

OrreryError
├── CannotConnect       no server answers there; start it, or correct the address
├── ApiError            the server answered with an error; ``code`` is stable and machine-readable
│   ├── Unauthorized    no credential, or one that is unknown (401)
│   ├── Forbidden       known, but not allowed (403)
│   ├── NotFound        no such thing in the project (404)
│   ├── Conflict        the thing is in a state that forbids this (409)
│   └── Invalid         what was sent is wrong; ``problems`` has every fault (400, 413, 415, 422)
└── InvalidWorkflow     a workflow written in Python cannot become a definition
"""

from collections.abc import Sequence
from dataclasses import dataclass


class OrreryError(Exception):
    """Something that the caller can be told in one plain sentence."""


class CannotConnect(OrreryError):
    """No server answers at the address."""


class InvalidWorkflow(OrreryError):
    """A workflow written in Python cannot become a definition."""


@dataclass(frozen=True, slots=True)
class ProblemDetail:
    """One fault in what was sent; ``line`` and ``column`` count from 1 where the text has them."""

    message: str
    code: str = ""
    loc: tuple[str | int, ...] = ()
    line: int | None = None
    column: int | None = None


class ApiError(OrreryError):
    """``status`` and ``code`` as the server gave them; ``problems`` has the faults of a definition or of inputs."""

    def __init__(self, status: int, code: str, message: str, problems: Sequence[ProblemDetail] = ()) -> None:
        self.status = status
        self.code = code
        self.problems = tuple(problems)
        super().__init__(message)


class Unauthorized(ApiError):
    """401."""


class Forbidden(ApiError):
    """403."""


class NotFound(ApiError):
    """404."""


class Conflict(ApiError):
    """409."""


class Invalid(ApiError):
    """400, 413, 415, 422."""


BY_STATUS: dict[int, type[ApiError]] = {
    400: Invalid,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: Invalid,
    415: Invalid,
    422: Invalid,
}
