"""What Orrery's processes have counted, from their ``/metrics``."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping

_SAMPLE = re.compile(r"^(?P<name>[a-z_]+)(?:\{(?P<labels>[^}]*)\})? (?P<value>\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')

Samples = dict[tuple[str, str], float]
"""Values by name and the value of one label, which is empty where there is none."""


def samples(texts: Iterable[str], labels: Mapping[str, str]) -> Samples:
    """Sums over ``texts`` of the samples named in ``labels``, apart by the label given there."""
    found: dict[tuple[str, str], float] = defaultdict(float)
    for text in texts:
        for match in _SAMPLE.finditer(text):
            name = match["name"]
            if name in labels:
                given = dict(_LABEL.findall(match["labels"] or ""))
                found[name, given.get(labels[name], "")] += float(match["value"])
    return dict(found)


def growth(before: Samples, after: Samples) -> Samples:
    """What was added; what has only appeared meanwhile counts from 0."""
    return {key: value - before.get(key, 0.0) for key, value in after.items()}
