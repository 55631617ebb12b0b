"""Parameters are found in SQL, and nothing else is taken for one."""

import pytest

from scheduler_infrastructure.execution.sql.statement import ParameterMismatch, parse_statement


def rendered(sql: str) -> tuple[str, tuple[str, ...]]:
    statement = parse_statement(sql)
    return statement.render(lambda index: f"<{index}>"), statement.names


@pytest.mark.parametrize(
    ("sql", "expected", "names"),
    [
        ("select 1", "select 1", ()),
        ("", "", ()),
        ("insert into done(day) values (:day)", "insert into done(day) values (<0>)", ("day",)),
        ("select :a, :b, :a", "select <0>, <1>, <0>", ("a", "b")),
        ("select :a::date, x::text", "select <0>::date, x::text", ("a",)),
        ("select ':no', \":no\", 'it''s :no', :yes", "select ':no', \":no\", 'it''s :no', <0>", ("yes",)),
        ("select E'\\':no', :yes", "select E'\\':no', <0>", ("yes",)),
        ("select date'\\', :yes", "select date'\\', <0>", ("yes",)),
        ("-- :no\nselect :yes", "-- :no\nselect <0>", ("yes",)),
        ("/* :no /* :no */ :no */ select :yes", "/* :no /* :no */ :no */ select <0>", ("yes",)),
        ("select $$ :no $$, $tag$ :no $$ $tag$, :yes", "select $$ :no $$, $tag$ :no $$ $tag$, <0>", ("yes",)),
        ("select a:no, '12:30', :yes", "select a:no, '12:30', <0>", ("yes",)),
        ("select x[1 : 2], :1, : a", "select x[1 : 2], :1, : a", ()),
        ("select ':unclosed", "select ':unclosed", ()),
        ("select /* :unclosed", "select /* :unclosed", ()),
        ("select $$ :unclosed", "select $$ :unclosed", ()),
        ("select :ä_1", "select :ä_1", ()),
        ("where day = :day;", "where day = <0>;", ("day",)),
    ],
)
def test_only_parameters_are_replaced(sql: str, expected: str, names: tuple[str, ...]) -> None:
    assert rendered(sql) == (expected, names)


def test_a_long_text_takes_no_time() -> None:
    assert rendered("'" * 1_000_001)[1] == ()
    assert rendered("/*" * 500_000)[1] == ()
    assert len(rendered(":a," * 300_000)[0]) == 4 * 300_000


def test_missing_and_extra_parameters_are_named() -> None:
    statement = parse_statement("select :a, :b")
    assert statement.values({"b": 2, "a": 1}) == [1, 2]
    with pytest.raises(ParameterMismatch, match=":b"):
        statement.values({"a": 1})
    with pytest.raises(ParameterMismatch, match="'c'"):
        statement.values({"a": 1, "b": 2, "c": 3})
