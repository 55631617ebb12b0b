"""What a connection raises when the statement cannot be executed."""


class SqlFailure(Exception):
    """``code`` is the failure's code; ``retryable`` tells whether another try may help. The message holds no
    credentials."""

    def __init__(self, code: str, message: str, *, retryable: bool) -> None:
        self.code = code
        self.retryable = retryable
        super().__init__(message)


class StatementTimedOut(Exception):
    """The database ended the statement at its time limit."""
