"""How a command fails: what people read on standard error, and the exit code that scripts read."""

OK = 0
FAILED = 1
USAGE = 2
INTERRUPTED = 130


class CommandFailed(Exception):
    """Ends a command: each of ``lines`` goes to standard error, ``exit_code`` to the caller."""

    def __init__(self, *lines: str, exit_code: int = FAILED) -> None:
        self.lines = lines
        self.exit_code = exit_code
        super().__init__(*lines)


class UsageError(CommandFailed):
    """The command line or a setting is wrong."""

    def __init__(self, *lines: str) -> None:
        super().__init__(*lines, exit_code=USAGE)
