"""Gives a peer its work and prints one line of JSON: ``drive.py celery|huey MEASURE SIZE``. Times are seconds."""

import json
import os
import sys
import time

PATIENCE_SECONDS = 300


class CeleryPeer:
    def __init__(self):
        import celery_app

        self._app = celery_app
        self._database = None

    def enter(self):
        self._app.nothing.delay()

    def recorded(self):
        url = os.environ["PEER_BACKEND_URL"]
        if url.startswith("redis"):
            return self._app.app.backend.client.dbsize()
        if self._database is None:
            import psycopg2

            self._database = psycopg2.connect(
                url.partition("+psycopg2")[0].replace("db+", "") + url.partition("+psycopg2")[2]
            )
            self._database.autocommit = True
        with self._database.cursor() as cursor:
            cursor.execute("select count(*) from celery_taskmeta where status = 'SUCCESS'")
            return cursor.fetchone()[0]

    def stamp(self):
        return self._app.now.delay().get(timeout=PATIENCE_SECONDS, interval=0.005)

    def chain(self, length):
        from celery import chain

        chain(*(self._app.nothing.si() for _ in range(length))).delay().get(timeout=PATIENCE_SECONDS, interval=0.005)

    def fanout(self, width):
        from celery import chain, group

        middle = group(self._app.nothing.si() for _ in range(width))
        chain(self._app.nothing.si(), middle, self._app.nothing.si()).delay().get(
            timeout=PATIENCE_SECONDS, interval=0.005
        )


class HueyPeer:
    def __init__(self):
        import huey_app

        self._app = huey_app

    def enter(self):
        self._app.nothing()

    def recorded(self):
        return self._app.huey.storage.result_store_size()

    def stamp(self):
        return self._app.now().get(blocking=True, timeout=PATIENCE_SECONDS, backoff=1.0, max_delay=0.005)


def throughput(peer, size):
    entered(peer, 100)
    before, used = time.time(), cpu()
    entered(peer, size)
    seconds = time.time() - before
    return {"tasks": size, "seconds": seconds, "per_second": size / seconds, "client_cpu_seconds": cpu() - used}


def entered(peer, size):
    """Enters tasks one by one and waits for the last result."""
    until = recorded(peer) + size
    for _ in range(size):
        peer.enter()
    give_up = time.time() + PATIENCE_SECONDS
    while recorded(peer) < until:
        if time.time() > give_up:
            sys.exit("the peer did not end its work")
        time.sleep(0.02)


def recorded(peer):
    try:
        return peer.recorded()
    except Exception:  # its table comes into being with the first result
        return 0


def latency(peer, size):
    samples = []
    for _ in range(size + 20):
        before = time.time()
        samples.append((peer.stamp() - before) * 1000)
    return {"ms": samples[20:]}


def repeated(work, size):
    seconds = []
    for _ in range(8):
        before = time.time()
        work(size)
        seconds.append(time.time() - before)
    return {"seconds": sorted(seconds[1:])[3]}


def cpu():
    times = os.times()
    return times.user + times.system


def main():
    peer = {"celery": CeleryPeer, "huey": HueyPeer}[sys.argv[1]]()
    measure, size = sys.argv[2], int(sys.argv[3])
    if measure in ("chain", "fanout"):
        found = repeated(getattr(peer, measure), size)
    else:
        found = {"throughput": throughput, "latency": latency}[measure](peer, size)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
