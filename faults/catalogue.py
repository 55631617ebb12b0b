"""All faults there are: what the modules ``*_faults.py`` of this package define."""

import importlib
import pkgutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from faults.fault import Fault


def catalogue() -> Mapping[str, Fault]:
    """Every fault by its id, in the order of ids. Raises `ValueError` where two have the same."""
    found: dict[str, Fault] = {}
    for module in pkgutil.iter_modules([str(Path(__file__).parent)], "faults."):
        if not module.name.endswith("_faults"):
            continue
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, Fault):
                if found.get(value.id, value) is not value:
                    raise ValueError(f"two faults are named {value.id}")
                found[value.id] = value
    return dict(sorted(found.items()))


def chosen(*, tier: int | None, only: Iterable[str] = ()) -> Sequence[Fault]:
    """Those named in ``only``, else those of ``tier`` and the tiers below. Raises `KeyError` for an unknown id."""
    known = catalogue()
    names = list(only)
    if names:
        return [known[name] for name in names]
    return [entry for entry in known.values() if tier is None or entry.tier <= tier]
