"""Single lines of crontabs; what is expected here is what cron 3.0pl1-162 of Debian 12 was seen to do."""

import pytest

from scheduler_application.importing.anacrontab import read_anacrontab
from scheduler_application.importing.crontab import Crontab, Entry, Form, decode, encoded, read_crontab
from scheduler_application.importing.form import read_any
from scheduler_domain.schedule.cron_parsing import parse_cron


def read(text: str, form: Form = Form.USER) -> Crontab:
    return read_crontab(text, form)


def entry_of(line: str, form: Form = Form.USER) -> Entry:
    (entry,) = read(f"{line}\n", form).entries
    return entry


def refusal_of(line: str, form: Form = Form.USER) -> str:
    (refused,) = read(f"{line}\n", form).refused
    return refused.why


@pytest.mark.parametrize(
    ("written", "command", "stdin"),
    [
        ("mail root%Hello%%world", "mail root", "Hello\n\nworld\n"),
        ("date +\\%d", "date +%d", None),
        ("a\\\\%b", "a\\", "b\n"),
        ("a\\\\\\%b", "a\\%b", None),
        ("printf '\\n'", "printf '\\n'", None),
        ("echo one \\", "echo one \\", None),
        ("cat%", "cat", ""),
        ("cat%%", "cat", "\n"),
        ("cat%a%", "cat", "a\n"),
        ("cat%\\%", "cat", "%\n"),
        ("cat%a\\\\%b", "cat", "a\\%b\n"),
        ("cat%a\\\\b", "cat", "a\\\\b\n"),
        ("cat%\\", "cat", "\\"),
        ("cat%a%\\", "cat", "a\n\\"),
        ("cat%a\\", "cat", "a\\\n"),
        ("%x", "", "x\n"),
    ],
)
def test_a_percent_sign_ends_the_command_and_separates_the_lines_of_its_input(
    written: str, command: str, stdin: str | None
) -> None:
    entry = entry_of(f"0 1 * * * {written}")
    assert (entry.command, entry.stdin) == (command, stdin)


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("A=b", "A", "b"),
        ("\tA = b c  ", "A", "b c"),
        ("A\t=\tb", "A", "b"),
        ("A='b '", "A", "b"),
        ("A=' b'", "A", " b"),
        ("A=\"'b'\"", "A", "b"),
        ('A=""', "A", ""),
        ("'A B' = c", "A B", "c"),
        ("A=b\r", "A", "b"),
        ("A=b # no comment", "A", "b # no comment"),
        ("A=$HOME/bin", "A", "$HOME/bin"),
        ("A=it's", "A", "it's"),
        ("=b", "", "b"),
        ("*/5 =b", "*/5", "b"),
    ],
)
def test_an_assignment_loses_its_blanks_and_quotes_and_nothing_else(line: str, name: str, value: str) -> None:
    (variable,) = read(f"{line}\n").variables
    assert (variable.name, variable.value) == (name, value)


@pytest.mark.parametrize("line", ["A=", "A b=c", "A='b' c", "'A=b'=c", "A='b", "'A", "A"])
def test_what_only_looks_like_an_assignment_is_refused_as_a_bad_minute(line: str) -> None:
    assert refusal_of(line).startswith("bad minute: ")


def test_variables_hold_from_their_line_on() -> None:
    crontab = read("A=1\n0 1 * * * a\nB=2\nA=3\n0 2 * * * b\n")
    assert [dict(entry.environment) for entry in crontab.entries] == [{"A": "1"}, {"A": "3", "B": "2"}]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("60 1 * * * a", "bad minute: '60', 60 is out of range, 0 to 59 are accepted"),
        ("0 24 * * * a", "bad hour"),
        ("0 1 0 * * a", "bad day-of-month"),
        ("0 1 * 13 * a", "bad month"),
        ("0 1 * * 8 a", "bad day-of-week"),
        ("0 1 * * mo a", "bad day-of-week"),
        ("1/5 * * * * a", "bad minute: '1/5', a step needs a range before it"),
        ("*/0 * * * * a", "bad minute"),
        ("5L * * * * a", "bad minute"),
        ("1, 2 * * * a", "bad minute"),
        ("- 1 * * * a", "bad minute"),
        ("-0 1 * * * a", "bad minute"),
        ("0 1 * *", "bad day-of-week: too few fields, found 4 of 5"),
        ("0 */5 * * * * a", "bad command: '* a' begins with '*'"),
        ("@every 5m a", "bad time specifier: '@every'"),
        ("@Daily a", "bad time specifier: '@Daily'"),
        ("\ufeff0 1 * * * a", "bad minute"),
        (f"0 1 * * * {'a' * 999}", "command too long"),
        (f"A={'a' * 997}", "assignment too long"),
    ],
)
def test_a_line_that_cron_refuses_is_reported_in_crons_words(line: str, reason: str) -> None:
    assert refusal_of(line).startswith(reason)


def test_the_longest_command_and_assignment_are_taken() -> None:
    assert len(entry_of(f"0 1 * * * {'a' * 998}").command) == 998
    assert len(read(f"A={'a' * 996}\n").variables[0].value) == 996


@pytest.mark.parametrize(
    ("written", "times"),
    [
        ("0 1 * * 7#3", "0 1 * * 7"),
        ("*5 * * * *", "* * * * *"),
        ("0 1 * * 1;x", "0 1 * * 1"),
        ("0 1 * * 6-0,3", "0 1 * * 3"),
        ("*/90 * * * *", "0 * * * *"),
        ("0 1 5,* * mon", "0 1 5,1-31 * mon"),
    ],
)
def test_what_cron_skips_in_silence_is_left_out_with_a_remark(written: str, times: str) -> None:
    entry = entry_of(f"{written} a")
    assert (entry.schedule, entry.times) == (written, times)
    assert bool(entry.remarks) == ("5,*" not in written)


@pytest.mark.parametrize(
    "schedule",
    [
        *("5-55/10 * * * *", "0 0 1,15 * mon-fri", "0 22 * Jan-MAR 1-5", "*/20 */48 */31 * */7", "07 08 09 10 07"),
        *("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"),
    ],
)
def test_what_cron_takes_as_written_is_an_expression_of_ours_too(schedule: str) -> None:
    entry = entry_of(f"{schedule}\ta b")
    assert (entry.schedule, entry.times, entry.command) == (schedule, schedule, "a b")
    assert parse_cron(schedule).ever_fires()


def test_a_schedule_without_any_time_is_none() -> None:
    assert entry_of("@reboot a").times is None
    backwards = entry_of("0 5-1 * * * a")
    assert backwards.times is None
    assert "backwards" in backwards.remarks[0]


def test_a_system_crontab_has_a_user_before_the_command() -> None:
    crontab = read("18 */3\t* * *\tamavis\ttest  -e x\n@daily  root  b\n", Form.SYSTEM)
    assert [(entry.user, entry.command) for entry in crontab.entries] == [("amavis", "test  -e x"), ("root", "b")]
    assert refusal_of("0 1 * * * root", Form.SYSTEM).startswith("bad username")
    assert refusal_of("0 1 * * * * root a", Form.SYSTEM).startswith("bad username: '*'")
    assert "form 'user'" in entry_of("0 1 * * * /bin/a b", Form.SYSTEM).remarks[0]


def test_a_carriage_return_is_a_character_of_the_command_and_a_line_by_itself_is_refused() -> None:
    crontab = read("0 1 * * * a\r\n\r\n# c\r\n0 2 * * * b\r\n")
    assert [entry.command for entry in crontab.entries] == ["a\r", "b\r"]
    assert [line.line for line in crontab.refused] == [2]


def test_only_a_newline_ends_a_line() -> None:
    crontab = read("0 1 * * * a\x0bb\x85c\u2028d\n0 2 * * * e\n")
    assert [(entry.line, entry.command) for entry in crontab.entries] == [(1, "a\x0bb\x85c\u2028d"), (2, "e")]


def test_a_file_that_debian_would_ignore_says_why_and_is_read_all_the_same() -> None:
    crontab = read("x\n0 1 * * * a\n0 2 * * * b")
    assert [entry.command for entry in crontab.entries] == ["a", "b"]
    assert crontab.faults == ["there is no newline at its end", "it has a line with an error"]
    assert "more than 10000 lines" in read("\n" * 10_001).faults[0]
    assert read("# nothing\n").faults == []


def test_bytes_that_are_no_text_survive() -> None:
    content = b"0 1 * * * echo \xff\xfe caf\xc3\xa9\n"
    entry = entry_of(decode(content).rstrip("\n"))
    assert encoded(entry.command) == b"echo \xff\xfe caf\xc3\xa9"


def test_an_anacrontab_has_periods_delays_and_jobs() -> None:
    crontab = read_anacrontab(
        "SHELL = /bin/sh\n\n# c\n1\t5\tcron.daily\trun-parts \\\n  --report x\n"
        "@monthly 15 m a%b\n7 x w a\n@never 1 n a\n"
    )
    daily, monthly = crontab.entries
    assert (daily.line, daily.schedule, daily.delay, daily.job) == (4, "1", 5, "cron.daily")
    assert daily.command == "run-parts    --report x"
    assert daily.environment == {"SHELL": " /bin/sh"}
    assert (monthly.line, monthly.schedule, monthly.command, monthly.stdin) == (6, "@monthly", "a%b", None)
    assert [line.line for line in crontab.refused] == [7, 8]


@pytest.mark.parametrize(
    ("text", "path", "form"),
    [
        ("0 1 * * * root /bin/a b\n", "x", Form.SYSTEM),
        ("0 1 * * * php a.php\n", "x", Form.USER),
        ("0 1 * * * mail -s x ada%hello\n", "x", Form.USER),
        ("0 1 * * * php a.php\n", "/etc/cron.d/x", Form.SYSTEM),
        ("0 1 * * * php a.php\n", "/etc/crontab", Form.SYSTEM),
        ("# m h dom mon dow user command\n0 1 * * * me a.php\n", "x", Form.SYSTEM),
        ("# m h dom mon dow command\n0 1 * * * me a.php\n", "x", Form.USER),
        ("0 1 * * * root /bin/a\n0 1 * * * /bin/a b\n", "x", Form.USER),
        ("1 5 daily /bin/a b\n", "x", Form.ANACRON),
        ("# nothing\n", "x", Form.USER),
    ],
)
def test_the_form_is_told_by_place_heading_and_users(text: str, path: str, form: Form) -> None:
    crontab, guessed_by = read_any(text, path, None)
    assert crontab.form is form
    assert guessed_by
    assert read_any(text, path, Form.USER)[1] is None
