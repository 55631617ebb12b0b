"""The load: a client that starts runs at a steady pace while things break, and keeps what it was promised.

Half of the requests carry an idempotency key. A tenth of those is sent again, as a client does that lost the answer;
a tenth is sent again with another body, which must be refused. A request that meets a dead API is sent to the next one
where it has a key, as a client behind a load balancer does.
"""

import asyncio
import itertools
import random
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import httpx2

from faults.journal import Exchange
from faults.site import Site, is_alive
from faults.workload import Workload
from tests.support.stack import Node

REPEATED_EVERY = 10
ANSWER_SECONDS = 10.0
"""How long the client waits; longer than any answer may take."""
TRIES = 4


async def deploy(site: Site, workload: Workload) -> None:
    """Deploys every workflow, then makes the broker keep the queues that came into being."""
    for document in workload.documents:
        await deploy_one(site, document)
    await asyncio.to_thread(site.rabbitmq.persist)


async def deploy_one(site: Site, document: Mapping[str, Any]) -> None:
    async with site.client(site.of("api")[0], timeout=30) as client:
        answer = await client.post("/workflows?deploy=true", json=document)
    if answer.status_code not in (200, 201):
        raise RuntimeError(f"{document['workflow']} was not deployed: {answer.text}")


async def start(site: Site, workflow: str) -> str:
    """Starts a run through the journal and answers its id; raises `RuntimeError` where it was not accepted."""
    async with site.client(site.of("api")[0]) as client:
        exchange = await site.journal.ask(client, "POST", f"/workflows/{workflow}/run", body={})
    if exchange.run_id is None:
        raise RuntimeError(f"no run of {workflow} was started: {exchange.status} {exchange.problem or exchange.answer}")
    return exchange.run_id


async def stop_schedules(site: Site, workload: Workload) -> None:
    """Undeploys what starts by the clock, so that the system can come to rest."""
    async with site.client(site.of("api")[0], timeout=30) as client:
        for document in workload.documents:
            if any("manual" not in trigger for trigger in document["triggers"]):
                answer = await client.post(f"/workflows/{document['workflow']}/undeploy")
                if answer.status_code not in (200, 204):
                    raise RuntimeError(f"{document['workflow']} was not undeployed: {answer.text}")


class Load:
    """Starts ``rate`` runs a second while the block lasts, chosen by ``seed`` from what the workload starts."""

    def __init__(self, site: Site, workload: Workload, *, rate: float, seed: int) -> None:
        self._site = site
        self._workload = workload
        self._pause = 1 / rate
        self._chance = random.Random(f"load {seed}")
        self._name = f"load-{seed}-{time.time_ns()}"
        self._stopping = asyncio.Event()
        self._sending: set[asyncio.Task[None]] = set()
        self._clients: dict[str, httpx2.AsyncClient] = {}
        self.asked = 0

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._keep_pace())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Sends nothing more and waits for the answers that are due."""
        self._stopping.set()
        await self._task
        await asyncio.gather(*self._sending)
        for client in self._clients.values():
            await client.aclose()
        self._clients.clear()

    async def _keep_pace(self) -> None:
        started = time.monotonic()
        names, weights = list(self._workload.started), list(self._workload.started.values())
        for number in itertools.count():
            pause = started + number * self._pause - time.monotonic()
            try:
                await asyncio.wait_for(self._stopping.wait(), max(pause, 0.0))
            except TimeoutError:
                if self._site.is_suspended:
                    continue
                (workflow,) = self._chance.choices(names, weights)
                sending = asyncio.create_task(self._send(number, workflow, self._chance.random()))
                self._sending.add(sending)
                sending.add_done_callback(self._sending.discard)
            else:
                return

    async def _send(self, number: int, workflow: str, drawn: float) -> None:
        self.asked += 1
        path = f"/workflows/{workflow}/run"
        if drawn < 0.5:
            await self._ask(number, path, None, {})
            return
        key = f"{self._name}-{number}"
        exchange = await self._ask(number, path, key, {})
        for step in range(1, TRIES):
            if exchange.status is not None:
                break
            exchange = await self._ask(number + step, path, key, {})
        if drawn < 0.5 + 0.5 / REPEATED_EVERY:
            await self._ask(number + 1, path, key, {})
        elif drawn < 0.5 + 1.0 / REPEATED_EVERY:
            await self._ask(number + 1, path, key, {"priority": "low"})

    async def _ask(self, number: int, path: str, key: str | None, body: dict[str, str]) -> Exchange:
        apis = self._apis()
        return await self._site.journal.ask(self._client(apis[number % len(apis)]), "POST", path, key=key, body=body)

    def _apis(self) -> Sequence[Node]:
        """Those that run, as a load balancer knows them; all, where none does."""
        every = self._site.of("api", alive=False)
        return [node for node in every if is_alive(node)] or every

    def _client(self, api: Node) -> httpx2.AsyncClient:
        if api.url not in self._clients:
            self._clients[api.url] = self._site.client(api, timeout=ANSWER_SECONDS)
        return self._clients[api.url]
