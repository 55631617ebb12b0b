"""A name for the workflow of a command: words of the command for people, and a digest that keeps names apart.

The digest is of user, command and input, so that a name stays when lines are added or a schedule changes.
"""

import re
from collections.abc import Iterable, Iterator
from hashlib import sha256
from itertools import count

_LONGEST = 48
_DIGEST = 6
_MOST_WORDS = 3

_PARTS = re.compile(r"&&|\|\||[;|&\n]")
_REDIRECTION = re.compile(r"[0-9]*&?[<>]+&?\s*[^\s;|&]*")
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_PLAIN = re.compile(r"[a-z][a-z0-9_-]*")
_SUFFIX = re.compile(r"\.(?:sh|bash|py|pl|php|rb|js|jar)\Z")
_UNFIT = re.compile(r"[^a-z0-9]+")

_PREPARATION = frozenset(
    {*("cd", "test", "[", "[[", "if", "then", "else", "fi", "set", "source", ".", "export", "sleep", "umask", "true")}
)
"""First words of the parts of a command that only prepare what it is about."""
_WRAPPERS = frozenset(
    {
        *(
            "sudo",
            "env",
            "nice",
            "ionice",
            "nohup",
            "exec",
            "time",
            "timeout",
            "chronic",
            "command",
            "then",
            "else",
            "do",
        ),
        *("sh", "bash", "dash", "zsh", "python", "python3", "perl", "php", "ruby", "node"),
    }
)


def workflow_name(words: str, identity: Iterable[str], schedule: str, taken: set[str]) -> str:
    """A name that is not in ``taken``, which gets it.

    ``words`` is a command, or the name that somebody gave it; ``identity`` tells it from other commands. Where the same
    is there twice, the ``schedule`` goes into the digest of the later one, then a number.
    """
    slug = _slug(words)
    identity = [*identity]
    name = next(name for name in _candidates(slug, identity, schedule) if name not in taken)
    taken.add(name)
    return name


def _candidates(slug: str, identity: list[str], schedule: str) -> Iterator[str]:
    yield f"{slug}-{_digest(identity)}"
    named = f"{slug}-{_digest([*identity, schedule])}"
    yield named
    yield from (f"{named}-{number}" for number in count(2))


def _digest(parts: Iterable[str]) -> str:
    return sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:_DIGEST]


def _slug(words: str) -> str:
    text = "-".join(_telling_words(words)).lower()
    return _UNFIT.sub("-", text).strip("-")[:_LONGEST].strip("-") or "command"


def _telling_words(command: str) -> list[str]:
    """The first program that does more than prepare, and plain words right behind it."""
    parts = [words for part in _PARTS.split(_REDIRECTION.sub(" ", command)) if (words := _words(part))]
    telling = [words for words in parts if words[0] not in _PREPARATION]
    return next(iter(telling or parts), command.split()[:1])[:_MOST_WORDS]


def _words(part: str) -> list[str]:
    """Program and plain words, without options, assignments and what only wraps the program."""
    words = [_SUFFIX.sub("", word.strip("\"'`()").rstrip("/").rpartition("/")[2]) for word in part.split()]
    kept = [word for word in words if re.search("[A-Za-z]|\\[", word) and not word.startswith("-")]
    while kept and (kept[0] in _WRAPPERS or _ASSIGNMENT.match(kept[0])):
        kept = kept[1:]
    return [*kept[:1], *(word for word in kept[1:] if _PLAIN.fullmatch(word))]
