"""orrery import crontab: the report, the files, the deployment."""

import json
from pathlib import Path

import pytest

from orrery.cli.failures import UsageError
from orrery.cli.system_zone import zone_or_system
from tests.cli.test_definitions import DEPLOYED
from tests.support.canned_server import CannedServer
from tests.support.command_line import CommandLine

CRONTAB = """\
MAILTO=ops@example.org
30 2 * * 1-5 /srv/report.sh --all
@reboot /srv/warm-up
61 * * * * /srv/broken
0 4 * * * /srv/clean-up
"""
ZONE = ("--timezone", "Europe/Berlin")


@pytest.fixture
def crontab(orrery: CommandLine, tmp_path: Path) -> str:
    (tmp_path / "crontab").write_text(CRONTAB)
    return "crontab"


def test_the_report_says_what_became_of_each_line(orrery: CommandLine, crontab: str) -> None:
    finished = orrery("import", "crontab", crontab, *ZONE)
    assert (finished.code, finished.err) == (1, "")
    report, _, notes = finished.out.partition("Not carried over:")
    assert "2 of 3 entries carried over" in report
    assert [line.split()[0] for line in report.splitlines()[3:5]] == ["2", "5"]
    assert "line 3: @reboot: " in notes
    assert "line 4: bad minute: '61'" in notes
    assert "line 1: MAILTO=ops@example.org" in notes.partition("Different from cron:")[2]


def test_a_crontab_that_is_carried_over_whole_ends_with_0(orrery: CommandLine) -> None:
    assert orrery("import", "crontab", "-", *ZONE, stdin="0 4 * * * /srv/clean-up\n").code == 0


def test_notes_that_say_the_same_share_a_line(orrery: CommandLine) -> None:
    text = "".join(f"{minute} 1 * * * root /srv/a {minute}\n" for minute in range(3))
    finished = orrery("import", "crontab", "-", *ZONE, stdin=text)
    assert "(form system, because a user stands before each command): 3 of 3" in finished.out
    assert "lines 1, 2, 3: cron runs it as root, Orrery as the worker's user" in finished.out


def test_the_report_is_there_for_programs(orrery: CommandLine, crontab: str) -> None:
    report = json.loads(orrery("import", "crontab", crontab, *ZONE, "--shadow", "--json").out)
    assert (report["file"], report["form"], report["timezone"], report["entries"]) == (
        *("crontab", "user", "Europe/Berlin"),
        3,
    )
    assert report["form_guessed_by"]
    assert {(note["line"], note["code"]) for note in report["notes"] if note["dropped"]} == {
        *[(3, "reboot"), (4, "refused_line")]
    }
    (first, _) = report["carried"]
    assert (first["line"], first["schedule"], first["command"]) == (2, "30 2 * * 1-5", "/srv/report.sh --all")
    assert first["document"]["workflow"] == first["workflow"]
    assert first["document"]["triggers"][0]["shadow"] is True


def test_the_files_are_valid_and_written_again_only_by_force(orrery: CommandLine, crontab: str, tmp_path: Path) -> None:
    into = ("import", "crontab", crontab, *ZONE, "--output", "flows/cron")
    assert "2 files in flows/cron" in orrery(*into).out
    files = sorted((tmp_path / "flows/cron").iterdir())
    assert [file.name.rpartition("-")[0] for file in files] == ["clean-up", "report"]
    assert orrery("validate", "flows").code == 0
    assert orrery(*into).err == ""

    files[0].write_text("workflow: mine\n")
    (tmp_path / "crontab").write_text(CRONTAB.replace("30 2", "45 2"))
    refused = orrery(*into)
    assert refused.code == 1
    assert f"{files[0].relative_to(tmp_path)} exists with other content" in refused.err
    assert "45 2" not in files[1].read_text()
    orrery(*into, "--force")
    assert "45 2" in files[1].read_text()
    assert "mine" not in files[0].read_text()


def test_what_is_deployed_is_what_is_written(
    orrery: CommandLine, server: CannedServer, crontab: str, tmp_path: Path
) -> None:
    server.on("POST /workflows", (201, DEPLOYED))
    finished = orrery("import", "crontab", crontab, *ZONE, "--deploy", "--output", "flows")
    assert finished.out.count("report: version 3 is live") == 2
    bodies = {request.body for request in server.received}
    assert bodies == {file.read_bytes() for file in (tmp_path / "flows").iterdir()}
    assert all(request.query == {"deploy": "true"} for request in server.received)


def test_what_the_server_refuses_is_told_and_ends_with_1(orrery: CommandLine, server: CannedServer) -> None:
    server.on("POST /workflows", (422, {"code": "invalid_definition", "detail": "no such queue"}))
    finished = orrery("import", "crontab", "-", *ZONE, "--deploy", stdin="0 4 * * * /srv/clean-up\n")
    assert finished.code == 1
    assert finished.err.startswith("clean-up-")
    assert finished.err.endswith(".yaml: no such queue\n")


def test_cron_tz_asks_whose_rule_holds(orrery: CommandLine) -> None:
    text = "0 1 * * * a\nCRON_TZ=Asia/Tokyo\n0 1 * * * b\nCRON_TZ=UTC\n"
    finished = orrery("import", "crontab", "-", *ZONE, stdin=text)
    assert (finished.code, finished.out) == (2, "")
    assert "CRON_TZ (lines 2, 4)" in finished.err
    assert "--follow-cron-tz or --ignore-cron-tz" in finished.err
    for option, zone in (("--follow-cron-tz", "Asia/Tokyo"), ("--ignore-cron-tz", "Europe/Berlin")):
        report = json.loads(orrery("import", "crontab", "-", *ZONE, option, "--json", stdin=text).out)
        assert report["carried"][1]["document"]["triggers"][0]["timezone"] == zone


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("crontab", "--follow-cron-tz", "--ignore-cron-tz"), "either --follow-cron-tz or --ignore-cron-tz"),
        (("crontab", "--force"), "--force belongs to --output"),
        (("crontab", "--timezone", "Mars/Olympus"), "--timezone: unknown time zone 'Mars/Olympus'"),
        (("crontab", "--timezone", ""), "--timezone: the time zone is empty"),
        (("crontab", "--form", "system", "--user", "ada"), "--user is for a user's crontab"),
        (("crontab", "--form", "bsd"), "Invalid value"),
        (("--fast",), "Unknown option"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_exit_code_2(
    orrery: CommandLine, crontab: str, argv: tuple[str, ...], words: str
) -> None:
    finished = orrery("import", "crontab", *argv, *(() if "--timezone" in argv else ZONE))
    assert (finished.code, finished.out, finished.err.count("\n")) == (2, "", 1)
    assert words in finished.err


def test_a_file_that_cannot_be_read_or_is_too_large_is_said(orrery: CommandLine, tmp_path: Path) -> None:
    assert "gone cannot be read: No such file" in orrery("import", "crontab", "gone", *ZONE).err
    (tmp_path / "large").write_bytes(b"#" * (1024 * 1024 + 1))
    assert "large is larger than 1048576 bytes" in orrery("import", "crontab", "large", *ZONE).err
    (tmp_path / "a-file").write_text("")
    finished = orrery("import", "crontab", "-", *ZONE, "--output", "a-file", stdin="0 4 * * * a\n")
    assert (finished.code, "a-file cannot be written: " in finished.err) == (1, True)


def test_the_zone_is_the_machines_where_none_is_given(tmp_path: Path) -> None:
    (tmp_path / "timezone").write_text("Europe/Madrid\n")
    assert zone_or_system(None, tmp_path) == "Europe/Madrid"
    (tmp_path / "localtime").symlink_to("../usr/share/zoneinfo/America/New_York")
    assert zone_or_system(None, tmp_path) == "America/New_York"
    assert zone_or_system("UTC", tmp_path) == "UTC"
    with pytest.raises(UsageError) as caught:
        zone_or_system(None, tmp_path / "empty")
    assert "give --timezone" in caught.value.lines[0]
