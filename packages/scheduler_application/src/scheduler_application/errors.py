"""Application errors: facts for the caller, never transport codes.

ApplicationError
├── NotFound            no such thing in the caller's project
├── Conflict            the thing is in a state that forbids this; ``code`` says which
├── Rejected            understood, but not acceptable; ``code`` says why
├── InvalidCredential   who is asking cannot be told
├── Forbidden           known, but not allowed
├── Unavailable         a dependency does not answer; try again after ``retry_after`` seconds
│   └── Unconfirmed     a publish may or may not have happened
├── Unroutable          a message had nowhere to go
└── LeadershipLost      a write that only the current epoch may do came from another
"""


class ApplicationError(Exception):
    """Something the caller can be told; ``code`` is stable and machine-readable, the message one plain sentence."""

    code = "failed"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        if code is not None:
            self.code = code
        super().__init__(message)


class NotFound(ApplicationError):
    code = "not_found"


class Conflict(ApplicationError):
    code = "conflict"


class Rejected(ApplicationError):
    code = "rejected"


class InvalidCredential(ApplicationError):
    code = "invalid_key"


class Forbidden(ApplicationError):
    code = "forbidden"


class Unavailable(ApplicationError):
    code = "unavailable"

    def __init__(self, message: str, *, retry_after: float = 1.0) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class Unconfirmed(Unavailable):
    code = "unconfirmed"


class Unroutable(ApplicationError):
    code = "unroutable"


class LeadershipLost(ApplicationError):
    code = "leadership_lost"
