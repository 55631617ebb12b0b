"""Faults of Redis, which may vanish at any time: it holds nothing that a run needs."""

import asyncio
import time
from random import Random
from statistics import quantiles

from faults.fault import Recovery, fault
from faults.journal import read_journal
from faults.recovery import next_run, service
from faults.site import Site

EACH_SECONDS = 5.0
MOST_SECONDS = 5.0


@fault("F44", "Redis emptied, frozen, full, and killed", tier=2, target=10.0, sharp=("I20", "I19"))
async def redis_vanishes(site: Site, _chance: Random) -> Recovery:
    """A run that is started while Redis is in trouble ends as fast as ever; the recovery is the slowest of them."""
    before = await next_run(site, site.disturb())
    since = time.time()
    worst = 0.0
    for trouble in (_empty, _freeze, _fill, _kill):
        at = site.disturb()
        await trouble(site)
        worst = max(worst, await service(site, at))
    slowest = _slowest(site, since)
    await asyncio.to_thread(site.redis.restart)
    after = await next_run(site, time.time())
    figures = {"run_before": round(before, 2), "run_after": round(after, 2), "p99_answer_seconds": round(slowest, 2)}
    return Recovery("Redis was emptied, frozen, full and killed", worst, figures)


async def _empty(site: Site) -> None:
    for _ in range(3):
        await _command(site, "FLUSHALL")
        await asyncio.sleep(1.0)


async def _freeze(site: Site) -> None:
    """Connections stay open and nobody answers, as behind a black hole."""
    await asyncio.to_thread(site.redis.stop)
    await asyncio.sleep(EACH_SECONDS)
    await asyncio.to_thread(site.redis.cont)


async def _fill(site: Site) -> None:
    await _command(site, "CONFIG", "SET", "maxmemory", "1")
    await asyncio.sleep(EACH_SECONDS)
    await _command(site, "CONFIG", "SET", "maxmemory", "0")


async def _kill(site: Site) -> None:
    await asyncio.to_thread(site.redis.kill)
    await asyncio.sleep(EACH_SECONDS)


async def _command(site: Site, *words: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.redis.port)
    writer.write(" ".join(words).encode() + b"\r\n")
    async with asyncio.timeout(MOST_SECONDS):
        answer = await reader.readline()
    writer.close()
    if not answer.startswith(b"+OK"):
        raise RuntimeError(f"Redis answered {answer!r} to {words[0]}")


def _slowest(site: Site, since: float) -> float:
    """The 99th percentile of the answers' seconds."""
    taken = [
        exchange.seconds
        for exchange in read_journal(site.journal.file)
        if exchange.at >= since and exchange.seconds is not None
    ]
    return quantiles(taken, n=100)[98] if len(taken) > 1 else 0.0
