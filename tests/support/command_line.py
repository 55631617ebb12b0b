"""The command line in the test's process: argv in, streams and exit code out."""

import io
from dataclasses import dataclass, field

from orrery.cli.main import run


@dataclass(frozen=True)
class Finished:
    code: int
    out: str
    err: str


@dataclass
class CommandLine:
    """Calls `orrery` with ``environ`` as its whole environment."""

    environ: dict[str, str] = field(default_factory=dict)

    def __call__(self, *argv: str, stdin: str = "") -> Finished:
        out, err = io.StringIO(), io.StringIO()
        code = run(argv, self.environ, io.StringIO(stdin), out, err)
        return Finished(code, out.getvalue(), err.getvalue())
