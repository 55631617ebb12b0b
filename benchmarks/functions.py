"""Which Python functions took the time of Orrery's processes, from what `benchmarks.sampled` wrote."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from benchmarks.report import columns

FUNCTIONS = 50
OURS = ("scheduler_", "orrery/")


def write_functions(folder: Path, tasks: int) -> list[Path]:
    """Writes a text beside every ``.stacks`` of the folder and returns where."""
    written = []
    for path in sorted(folder.glob("*.stacks")):
        text = path.with_suffix(".txt")
        text.write_text("\n\n".join(_tables(path, tasks)) + "\n")
        written.append(text)
    return written


def _tables(path: Path, tasks: int) -> Iterator[str]:
    stacks = parse_stacks(path.read_text())
    own, whole = by_function(stacks)
    yield f"{path.stem}: {sum(own.values()) / tasks:,.1f} us per task in the main thread"
    heads = ("us per task", "with callees", "function")
    yield columns(heads, [(us / tasks, whole[name] / tasks, name) for name, us in own.most_common(FUNCTIONS)])
    ours = [(us / tasks, own[name] / tasks, name) for name, us in whole.most_common() if name.startswith(OURS)]
    yield columns(("with callees", "own", "Orrery's functions"), ours[:FUNCTIONS])


def parse_stacks(text: str) -> list[tuple[list[str], int]]:
    """Frames from the outermost on, and microseconds."""
    lines = (line.rpartition(" ") for line in text.splitlines())
    return [(frames.split(";"), int(microseconds)) for frames, _, microseconds in lines if frames]


def by_function(stacks: list[tuple[list[str], int]]) -> tuple[Counter[str], Counter[str]]:
    """Microseconds of each function itself, and with all that it called; recursion counts once."""
    own: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    for frames, microseconds in stacks:
        own[frames[-1]] += microseconds
        for name in set(frames):
            whole[name] += microseconds
    return own, whole
