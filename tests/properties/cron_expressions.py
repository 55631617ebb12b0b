"""Cron expressions as text, each with the local times that it means."""

from dataclasses import dataclass
from datetime import datetime

from hypothesis import strategies as st


@dataclass(frozen=True)
class FieldText:
    """One field as text, with the values that it means."""

    text: str
    values: frozenset[int]

    @property
    def starred(self) -> bool:
        return self.text.startswith("*")


@dataclass(frozen=True)
class Expression:
    minute: FieldText
    hour: FieldText
    day: FieldText
    month: FieldText
    weekday: FieldText

    def __str__(self) -> str:
        return " ".join(f.text for f in (self.minute, self.hour, self.day, self.month, self.weekday))

    @property
    def wildcard(self) -> bool:
        return self.minute.starred or self.hour.starred

    def matches(self, local: datetime) -> bool:
        day = local.day in self.day.values
        weekday = local.isoweekday() in self.weekday.values or (local.isoweekday() == 7 and 0 in self.weekday.values)
        both = self.day.starred or self.weekday.starred
        return (
            local.minute in self.minute.values
            and local.hour in self.hour.values
            and local.month in self.month.values
            and (day and weekday if both else day or weekday)
        )


@dataclass(frozen=True)
class Range:
    low: int
    high: int

    def of(self, text: str, first: int, last: int, step: int = 1) -> FieldText:
        return FieldText(text, frozenset(range(first, last + 1, step)))

    @property
    def star(self) -> FieldText:
        return self.of("*", self.low, self.high)


MINUTES, HOURS, DAYS, MONTHS, WEEKDAYS = Range(0, 59), Range(0, 23), Range(1, 31), Range(1, 12), Range(0, 7)


@st.composite
def parts(draw: st.DrawFn, whole: Range, highest: int) -> FieldText:
    first = draw(st.integers(whole.low, highest))
    last = draw(st.integers(first, highest))
    step = draw(st.integers(1, whole.high))
    return draw(
        st.sampled_from(
            [
                whole.of(str(first), first, first),
                whole.of(f"{first}-{last}", first, last),
                whole.of(f"{first}-{last}/{step}", first, last, step),
                whole.of(f"*/{step}", whole.low, whole.high, step),
            ]
        )
    )


@st.composite
def fields(draw: st.DrawFn, whole: Range, highest: int | None = None) -> FieldText:
    if draw(st.booleans()):
        return whole.star
    chosen = draw(st.lists(parts(whole, highest or whole.high), min_size=1, max_size=3))
    return FieldText(",".join(part.text for part in chosen), frozenset().union(*(part.values for part in chosen)))


def expressions() -> st.SearchStrategy[Expression]:
    return st.builds(Expression, fields(MINUTES), fields(HOURS), fields(DAYS), fields(MONTHS), fields(WEEKDAYS))


def early_expressions() -> st.SearchStrategy[Expression]:
    """Expressions that often name a time between midnight and four, where clocks change."""
    return st.builds(
        Expression, fields(MINUTES), fields(HOURS, 4), fields(DAYS), st.just(MONTHS.star), fields(WEEKDAYS)
    )
