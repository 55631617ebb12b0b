"""I14, I19: what a client was told is true, in time, and the same under the same key."""

from collections import defaultdict
from collections.abc import Iterator

from faults.evidence import Evidence
from faults.journal import Exchange

LONGEST_ANSWER = 5.0


def keys_start_one_run(evidence: Evidence) -> Iterator[str]:
    """I14. What was accepted under a key is one run of one body; another body is refused from then on."""
    by_key: dict[str, list[Exchange]] = defaultdict(list)
    for exchange in evidence.journal:
        if exchange.key is not None and exchange.run_id is not None:
            by_key[exchange.key].append(exchange)
    for key, accepted in by_key.items():
        runs = {exchange.run_id for exchange in accepted}
        if len(runs) > 1:
            yield f"I14: key {key} started runs {sorted(map(str, runs))}"
        first, *more = accepted
        for exchange in more:
            if exchange.body != first.body:
                yield f"I14: request {exchange.number} under key {key} had another body than {first.number}"


def answers_are_honest(evidence: Evidence) -> Iterator[str]:
    """I19. Never a 500, never silence for more than five seconds, and a 503 says when to come again. While the machine
    stands still there are no answers, and nobody there who waits for them."""
    for exchange in evidence.journal:
        what = f"request {exchange.number} ({exchange.method} {exchange.path})"
        seconds = exchange.seconds or 0.0
        was_asleep = any(began < exchange.at + seconds and exchange.at < until for began, until in evidence.suspensions)
        if seconds > LONGEST_ANSWER and not was_asleep:
            yield f"I19: {what} waited {seconds:.1f} s for {exchange.status or exchange.problem}"
        if exchange.status is None:
            continue
        if not (200 <= exchange.status < 500 or exchange.status == 503):
            yield f"I19: {what} got {exchange.status}: {exchange.answer}"
        if exchange.status in (429, 503) and exchange.retry_after is None:
            yield f"I19: {what} got {exchange.status} without Retry-After"
