"""``NAME = value`` lines of a crontab (cron 3.0pl1, env.c).

Name and value may each stand in single or double quotes; an unquoted name ends at a blank or ``=``; nothing is
expanded. A value that is empty without quotes makes the line no assignment.
"""

_SPACE = " \t\n\v\f\r"
_QUOTES = "'\""


def read_assignment(line: str) -> tuple[str, str] | None:
    """Name and value, or ``None`` where cron takes the line for an entry."""
    name, rest = _name(line)
    if rest is None:
        return None
    rest = rest.lstrip(_SPACE)
    if not rest.startswith("="):
        return None
    value = _value(rest[1:].lstrip(_SPACE))
    return None if value is None else (name, _unquoted(value.rstrip(_SPACE)))


def _name(line: str) -> tuple[str, str | None]:
    """The name and what follows it, ``None`` where there is no name."""
    if line[:1] in _QUOTES and line:
        end = line.find(line[0], 1)
        name = line[1:end]
        return (name, line[end + 1 :]) if end > 0 and "=" not in name else ("", None)
    for place, character in enumerate(line):
        if character == "=":
            return line[:place], line[place:]
        if character in _SPACE:
            return line[:place], line[place + 1 :]
    return "", None


def _value(rest: str) -> str | None:
    if not rest:
        return None
    if rest[0] not in _QUOTES:
        return rest
    end = rest.find(rest[0], 1)
    # Only blanks may follow the closing quote.
    return rest[1:end] if end > 0 and not rest[end + 1 :].strip(_SPACE) else None


def _unquoted(value: str) -> str:
    """Cron takes a second pair of quotes away, also from a value that was ``"'a'"``."""
    if len(value) >= 2 and value[0] in _QUOTES and value[-1] == value[0]:
        return value[1:-1]
    return value
