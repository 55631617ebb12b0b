"""The form of names, and the nearest known name to one that is not known."""

import re
from collections.abc import Iterable
from difflib import get_close_matches

NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,98}[a-z0-9])?")
"""Of workflows, triggers and queues."""
KEY = re.compile(r"[a-zA-Z_][a-zA-Z0-9_-]{0,99}")
"""Of tasks and inputs."""

NAME_RULE = "1 to 100 of a-z, 0-9, '.', '_' and '-', beginning and ending with a letter or digit"
KEY_RULE = "1 to 100 of a-z, A-Z, 0-9, '_' and '-', beginning with a letter or '_'"

_MANY = 500


def nearest(name: str, known: Iterable[str]) -> str:
    """``"; did you mean 'x'?"`` with the most similar of ``known``, or nothing when none is similar."""
    if len(name) > 100:
        return ""
    names = list(known)
    if len(names) > _MANY:
        # Comparing with thousands of names takes too long for a document with many mistakes.
        names = [each for each in names if each[:2] == name[:2] and abs(len(each) - len(name)) <= 1][:_MANY]
    found = get_close_matches(name, names, n=1, cutoff=0.6)
    return f"; did you mean '{found[0]}'?" if found else ""


def shown(text: object) -> str:
    """At most 100 characters of what somebody wrote, on one line, control characters escaped."""
    cut = str(text)[:100] if not isinstance(text, int) or abs(text) < 10**100 else "a very large number"
    return cut if cut.isprintable() else cut.encode("unicode_escape").decode("ascii")[:100]
