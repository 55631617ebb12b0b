"""Time, identity and chance enter through ports, so that a test can hold them (design: the clock is a port)."""

from tests.architecture.source import qualified_names, sources

OUTSIDE = frozenset(
    {
        "datetime.datetime.now",
        "datetime.datetime.today",
        "datetime.datetime.utcnow",
        "datetime.date.today",
        "time.time",
        "time.time_ns",
        "uuid.uuid1",
        "uuid.uuid4",
        "uuid.uuid7",
    }
)

# The client library and its commands run on a person's machine and by that person's clock, so they are not here.
SERVER = (
    "packages/scheduler_domain",
    "packages/scheduler_application",
    "packages/scheduler_infrastructure",
    "packages/orrery/src/orrery/server",
    "services",
)

ADAPTERS = "packages/scheduler_infrastructure/src/scheduler_infrastructure"
PERMITTED = {
    # The adapters of the ports `Clock`, `Ids` and `Randomness`: the one place that asks the machine.
    f"{ADAPTERS}/clock.py": {*OUTSIDE, "random"},
    # The schema is made before there is anything that has a clock.
    f"{ADAPTERS}/persistence/migrating.py": {"datetime.datetime.now"},
    # A request's id is for people who compare an answer with a log line.
    "services/api/src/scheduler_api/middleware.py": {"uuid.uuid4"},
}

WAITING = frozenset({"asyncio.sleep", "time.sleep"})


def test_only_the_clock_adapter_asks_the_machine_for_time_identity_or_chance() -> None:
    found = [
        f"{source.at(node)} uses {name}"
        for source in sources(*SERVER)
        for node, name in qualified_names(source)
        if (name in OUTSIDE or name == "random" or name.startswith("random.")) and not _permitted(source.path, name)
    ]
    assert found == []


def test_no_test_sleeps_to_wait_for_something() -> None:
    """A test that sleeps is slow where the machine is fast and fails where it is slow."""
    found = [
        f"{source.at(node)} calls {name}"
        for source in sources("tests")
        for node, name in qualified_names(source)
        if name in WAITING
    ]
    assert found == []


def test_each_permission_still_has_its_use() -> None:
    """A permission that nobody uses would hide the next mistake in that file."""
    used = {source.path: {name for _, name in qualified_names(source)} for source in sources(*SERVER)}
    stale = [path for path, names in PERMITTED.items() if path in used and not names & used[path]]
    assert stale == []


def _permitted(path: str, name: str) -> bool:
    names = PERMITTED.get(path, set())
    return name in names or name.partition(".")[0] in names
