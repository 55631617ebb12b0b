"""Faults of the broker: killed, wiped, alarmed, its queues and connections taken away."""

import asyncio
import shutil
import time
from collections.abc import Sequence
from random import Random

import aio_pika

from faults.fault import Recovery, fault
from faults.load import deploy_one, start
from faults.recovery import NotRecovered, next_run
from faults.site import LOOK_SECONDS, Site
from faults.workload import hold, note
from scheduler_infrastructure.messaging.topology import REASON_HEADER, Topology
from tests.support.private_servers import PrivateRabbitMQ
from tests.support.tcpproxy import TcpProxy

ALARM_SECONDS = 15.0
DOWN_SECONDS = 30.0
BACKLOG = 400
DELIVER = b"\x00\x3c\x00\x3c"
"""Class and method of ``basic.deliver`` in a frame of AMQP 0-9-1."""
CUTS = 8
"""Fewer than the deliveries after which the broker gives a message up."""
CLOSED_TIMES = 8
CONSUMER_TIMEOUT_SECONDS = 10
LONG_SECONDS = 40.0
_TOPOLOGY = Topology()


@fault("F22", "kill -9 of the broker and a restart at once", tier=2, target=8.0, sharp=("I1", "I13"))
async def broker_dies(site: Site, _chance: Random) -> Recovery:
    """The recovery counts from the kill, the broker's own boot included. What gathered meanwhile fills every slot for
    as long as its tasks take, so the run that shows the recovery is critical; a usual one is a figure."""
    at = await site.kill_server(site.rabbitmq)
    await asyncio.to_thread(site.rabbitmq.restart)
    listening = time.time() - at
    critical, usual = await asyncio.gather(next_run(site, at, priority="critical"), next_run(site, at))
    figures = {"listening_after_seconds": round(listening, 1), "usual_run_seconds": round(usual, 1)}
    return Recovery("the broker was killed and started", critical, figures)


@fault("F23", "the broker is down for 30 s", tier=3, sharp=("I3", "I19"))
async def broker_is_down(site: Site, _chance: Random) -> Recovery:
    before = time.time()
    await site.kill_server(site.rabbitmq)
    await deploy_one(site, {"workflow": "backlog", "triggers": [{"manual": {}}], "tasks": {"one": note()}})
    accepted = await _batch(site, "backlog", BACKLOG)
    await asyncio.sleep(max(0.0, before + DOWN_SECONDS - time.time()))
    fired = await _count(site, "select count(*) as n from ledger where decided_at > to_timestamp($1)", before)
    at = site.disturb()
    await asyncio.to_thread(site.rabbitmq.restart)
    seconds = await next_run(site, at)
    open_runs = "select 1 from runs where id = any($1::uuid[]) and finished_at is null limit 1"
    drained = await _until_none(site, open_runs, at, accepted)
    succeeded = "select count(*) as n from runs where id = any($1::uuid[]) and state = 'succeeded'"
    lost = len(accepted) - await _count(site, succeeded, accepted)
    broken = [] if fired else ["I3: nothing fired while the broker was down"]
    broken += [f"I1: {lost} of {len(accepted)} runs accepted while the broker was down did not succeed"] if lost else []
    figures = {
        "accepted_meanwhile": len(accepted),
        "fired_meanwhile": fired,
        "drained_after_seconds": round(drained, 1),
    }
    return Recovery(f"the broker was down for {DOWN_SECONDS:g} s", seconds, figures, tuple(broken))


@fault("F24", "the broker's data are wiped", tier=3, target=30.0, sharp=("I1",))
async def broker_is_wiped(site: Site, _chance: Random) -> Recovery:
    await asyncio.gather(*(start(site, "mixed") for _ in range(2 * len(site.of("worker")))))
    waiting = await site.rows("select id::text from task_runs where state in ('ready', 'queued')")
    at = await site.kill_server(site.rabbitmq)
    await asyncio.to_thread(shutil.rmtree, site.rabbitmq.folder / "mnesia", ignore_errors=True)
    await asyncio.to_thread(site.rabbitmq.restart)
    ids = [row["id"] for row in waiting]
    sql = "select 1 from task_runs where id = any($1::uuid[]) and state in ('ready', 'queued') limit 1"
    seconds = max(await _until_none(site, sql, at, ids), await next_run(site, at))
    return Recovery("the broker lost every message", seconds, {"queued_before": len(ids)})


@fault("F25", "memory alarm, then disk alarm, of the broker", tier=2, target=5.0, sharp=("I19",))
async def broker_alarms(site: Site, _chance: Random) -> Recovery:
    worst, ended = 0.0, 0
    alarms = (
        (("set_vm_memory_high_watermark", "0.00001"), ("set_vm_memory_high_watermark", "0.4")),
        (("set_disk_free_limit", "100000GB"), ("set_disk_free_limit", "50MB")),
    )
    for raised, cleared in alarms:
        since = site.disturb()
        await _control(site, *raised)
        await asyncio.sleep(ALARM_SECONDS / len(alarms))
        ended += await _count(site, "select count(*) as n from runs where finished_at > to_timestamp($1)", since)
        await _control(site, *cleared)
        at = site.disturb()
        worst = max(worst, await next_run(site, at))
    return Recovery("a memory alarm and a disk alarm", worst, {"runs_ended_meanwhile": ended})


@fault("F26", "the queues of tasks are deleted while in use", tier=3, target=10.0, sharp=("I1",))
async def queues_are_deleted(site: Site, _chance: Random) -> Recovery:
    lanes = [name for name in site.queues() if name.startswith("orrery.tasks.")]
    connection = await aio_pika.connect(site.rabbitmq.url)
    async with connection:
        channel = await connection.channel()
        at = site.disturb()
        for lane in lanes:
            await channel.queue_delete(lane)
    return Recovery(f"{len(lanes)} queues were deleted", await next_run(site, at), {"queues": len(lanes)})


@fault("F27", "every connection to the broker is closed again and again", tier=3, target=10.0, sharp=("I5",))
async def connections_are_closed(site: Site, _chance: Random) -> Recovery:
    for _ in range(CLOSED_TIMES):
        site.disturb()
        await _control(site, "close_all_connections", "a test")
        await asyncio.sleep(1.0)
    at = site.disturb()
    return Recovery(f"all connections were closed {CLOSED_TIMES} times", await next_run(site, at))


@fault("F28", "acknowledgements are lost: the connection is cut at each delivery", tier=2, target=10.0, sharp=("I5",))
async def acknowledgements_are_lost(site: Site, _chance: Random) -> Recovery:
    """The only worker gets its hints through a link that breaks right after they passed."""
    worker = await site.start("worker", through=("rabbitmq",))
    await worker.ready()
    others = [node for node in site.of("worker") if node is not worker]
    for other in others:
        other.terminate()
    link = site.link(worker, "rabbitmq")
    link.cut_after(DELIVER, "down", times=CUTS)
    at = site.disturb()
    cut = await _until_cut(link, CUTS)
    link.heal()
    seconds = await next_run(site, time.time())
    for other in others:
        await other.ended(within=60)
        other.relaunch()
    await asyncio.gather(*(other.ready() for other in others))
    worker.terminate()
    await worker.ended(within=60)
    await site.retire(worker)
    figures = {"cuts": cut, "seconds_of_cuts": round(time.time() - at, 1)}
    broken = () if cut >= CUTS // 2 else (f"F28: only {cut} deliveries were cut",)
    return Recovery(f"{cut} deliveries were not acknowledged", seconds, figures, broken)


@fault("F29", "every hint comes three times, out of order and late", tier=3, sharp=("I5", "I10"))
async def hints_are_repeated(site: Site, chance: Random) -> Recovery:
    """A publisher of the suite's own repeats what the database says was hinted, also what is long over."""
    sent = 0
    site.disturb()
    connection = await aio_pika.connect(site.rabbitmq.url)
    async with connection:
        channel = await connection.channel()
        deadline = time.monotonic() + ALARM_SECONDS
        late: list[tuple[str, int]] = []
        while time.monotonic() < deadline:
            rows = await site.rows(
                "select id::text, claim_no from task_runs where queue = 'default' order by created_at desc limit 60"
            )
            late += [(row["id"], max(0, row["claim_no"] - chance.randrange(2))) for row in rows]
            batch = 3 * chance.sample(late, min(len(late), 60))
            chance.shuffle(batch)
            for fence in batch:
                await channel.default_exchange.publish(_hint(fence), _lane(chance.choice(("normal", "high"))))
            sent += len(batch)
            await asyncio.sleep(LOOK_SECONDS)
    at = site.disturb()
    return Recovery(f"{sent} hints were repeated", await next_run(site, at), {"repeated": sent})


@fault("F30", "poison: messages that no publisher of the product sends", tier=3, target=5.0, sharp=("I13", "I15"))
async def poison_is_sent(site: Site, _chance: Random) -> Recovery:
    unknown = "01890a5d-ac96-774b-bcce-b302099a8057"
    bad = [b"no JSON", b"{}", b'{"v": 2, "h": []}', b'{"v": 1, "h": [["x", 1]]}', b"\xff" * 100, b"x" * 10_000_000]
    harmless = [_body((unknown, 0)), _body((unknown, 2**31 - 1))]
    at = site.disturb()
    connection = await aio_pika.connect(site.rabbitmq.url)
    async with connection:
        channel = await connection.channel()
        for body in (*bad, *harmless):
            await channel.default_exchange.publish(aio_pika.Message(body), _lane("normal"))
        reasons = await _dead_letters(channel, len(bad))
    seconds = await next_run(site, at)
    missing = len(bad) - len(reasons)
    broken = [f"I13: {missing} of {len(bad)} poisonous messages are no dead letters"] if missing else []
    broken += [f"I13: a dead letter has no reason: {reason}" for reason in reasons if not reason]
    return Recovery(f"{len(bad)} poisonous messages", seconds, {"dead_letters": len(reasons)}, tuple(broken))


@fault("F31", "the broker's consumer timeout is shorter than the tasks", tier=3, sharp=("I5",))
async def consumers_time_out(site: Site, _chance: Random) -> Recovery:
    """The broker asks for the timeout when a channel is opened, and looks at it once in a tick; so all channels are
    opened anew. A consumer of the suite's own that acknowledges nothing says that the timeout is in force."""
    await deploy_one(site, {"workflow": "long", "triggers": [{"manual": {}}], "tasks": {"hold": hold(LONG_SECONDS)}})
    shorter = {"consumer_timeout": CONSUMER_TIMEOUT_SECONDS * 1_000, "channel_tick_interval": 1_000}
    before = {name: await _broker_setting(site, name) for name in shorter}
    site.disturb()
    try:
        for name, milliseconds in shorter.items():
            await _set_broker(site, name, milliseconds)
        await _control(site, "close_all_connections", "a test")
        await next_run(site, time.time())
        at = site.disturb()
        runs = [await start(site, "long") for _ in range(2)]
        timed_out = await _timed_out(site, within=3 * CONSUMER_TIMEOUT_SECONDS)
        sql = "select 1 from runs where id = any($1::uuid[]) and finished_at is null limit 1"
        await _until_none(site, sql, at, runs, within=LONG_SECONDS + 60)
    finally:
        for name, milliseconds in before.items():
            await _set_broker(site, name, milliseconds)
        await _control(site, "close_all_connections", "a test")
    rows = await site.rows("select run_id::text, state, claim_no from task_runs where run_id = any($1::uuid[])", runs)
    broken = tuple(
        f"I5: the task of run {row['run_id']} is {row['state']} after {row['claim_no']} claims"
        for row in rows
        if (row["state"], row["claim_no"]) != ("succeeded", 1)
    )
    figures = {"tasks": len(rows), "held_message_timed_out_seconds": round(timed_out, 1)}
    return Recovery("tasks outlived the consumer timeout", None, figures, broken)


async def _control(site: Site, *arguments: str) -> str:
    server: PrivateRabbitMQ = site.rabbitmq
    return await asyncio.to_thread(server.control, *arguments)


async def _broker_setting(site: Site, name: str) -> int:
    """In milliseconds."""
    said = await _control(site, "eval", f"{{ok, Milliseconds}} = application:get_env(rabbit, {name}), Milliseconds.")
    return int(said)


async def _set_broker(site: Site, name: str, milliseconds: int) -> None:
    await _control(site, "eval", f"application:set_env(rabbit, {name}, {milliseconds}).")


async def _timed_out(site: Site, *, within: float) -> float:
    """Seconds until the broker ends a channel that holds a message without acknowledging it."""
    ended: asyncio.Future[float] = asyncio.get_running_loop().create_future()
    connection = await aio_pika.connect(site.rabbitmq.url)
    async with connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(exclusive=True)
        await channel.default_exchange.publish(aio_pika.Message(b"held"), queue.name)
        started = time.monotonic()

        def note_end(*_: object) -> None:
            if not ended.done():
                ended.set_result(time.monotonic() - started)

        channel.close_callbacks.add(note_end)
        await queue.consume(lambda _message: asyncio.sleep(0))
        try:
            return await asyncio.wait_for(ended, within)
        except TimeoutError:
            raise NotRecovered(f"a held message was not timed out within {within:g} s") from None


async def _batch(site: Site, workflow: str, count: int) -> list[str]:
    """Starts many runs in one request; the ids of all that it asked for."""
    async with site.client(site.of("api")[0], timeout=30) as client:
        answer = await client.post("/runs:batch", json={"items": [{"workflow": workflow}] * count})
    outcomes = answer.json()["items"] if answer.status_code == 200 else []
    accepted = [outcome["run_id"] for outcome in outcomes if outcome["status"] == 202]
    if len(accepted) != count:
        raise NotRecovered(f"{len(accepted)} of {count} runs were accepted: {answer.status_code} {answer.text[:300]}")
    return accepted


async def _count(site: Site, sql: str, *arguments: object) -> int:
    return int((await site.rows_when_back(sql, *arguments))[0]["n"])


async def _until_none(site: Site, sql: str, at: float, *arguments: object, within: float = 90.0) -> float:
    """Seconds since ``at`` when the statement found nothing any more."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if not await site.rows_when_back(sql, *arguments):
            return time.time() - at
        await asyncio.sleep(LOOK_SECONDS)
    raise NotRecovered(f"there still is something after {within:g} s: {sql}")


async def _until_cut(link: TcpProxy, wanted: int, *, within: float = 60.0) -> int:
    """How many connections were cut, when it is enough or the time is over."""
    deadline = time.monotonic() + within
    while link.cuts < wanted and time.monotonic() < deadline:
        await asyncio.sleep(LOOK_SECONDS)
    return link.cuts


async def _dead_letters(channel: aio_pika.abc.AbstractChannel, wanted: int) -> Sequence[str]:
    """Takes the dead letters out of their queue, as soon as there are so many; their reasons."""
    queue = await channel.get_queue(_TOPOLOGY.dead)
    reasons: list[str] = []
    deadline = time.monotonic() + 20.0
    while len(reasons) < wanted and time.monotonic() < deadline:
        message = await queue.get(no_ack=True, fail=False)
        if message is None:
            await asyncio.sleep(LOOK_SECONDS)
        else:
            reasons.append(str(message.headers.get(REASON_HEADER) or message.headers.get("x-first-death-reason") or ""))
    return reasons


def _hint(fence: tuple[str, int]) -> aio_pika.Message:
    return aio_pika.Message(_body(fence), delivery_mode=aio_pika.DeliveryMode.PERSISTENT)


def _body(fence: tuple[str, int]) -> bytes:
    """A hint as the product writes it, so that nothing but its being there again is wrong."""
    task_run_id, claim_no = fence
    return f'{{"v":1,"h":[["{task_run_id}",{claim_no}]]}}'.encode()


def _lane(priority: str) -> str:
    return f"{_TOPOLOGY.namespace}.tasks.default.{priority}"
