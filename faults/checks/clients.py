"""I14, I19: what a client was told is true, in time, and the same under the same key."""

import json
from collections import defaultdict
from collections.abc import Iterator

from faults.evidence import Evidence
from faults.journal import Exchange

LONGEST_ANSWER = 5.0
REFUSED_KEYS = (409, 422)


def keys_start_one_run(evidence: Evidence) -> Iterator[str]:
    """I14. The same key and body is the same run; another body is refused."""
    by_key: dict[str, list[Exchange]] = defaultdict(list)
    for exchange in evidence.journal:
        if exchange.key is not None and exchange.status is not None and exchange.path.endswith("/run"):
            by_key[exchange.key].append(exchange)
    for key, exchanges in by_key.items():
        told = {exchange.run_id for exchange in exchanges if exchange.run_id is not None}
        if len(told) > 1:
            yield f"I14: key {key} started runs {sorted(told)}"
        first = json.dumps(exchanges[0].body, sort_keys=True)
        for exchange in exchanges[1:]:
            same = json.dumps(exchange.body, sort_keys=True) == first
            if not same and exchange.status not in (*REFUSED_KEYS, 429, 503) and told:
                yield f"I14: request {exchange.number} under key {key} had another body and got {exchange.status}"


def answers_are_honest(evidence: Evidence) -> Iterator[str]:
    """I19. Never a 500, never silence for more than five seconds, and a 503 says when to come again."""
    for exchange in evidence.journal:
        what = f"request {exchange.number} ({exchange.method} {exchange.path})"
        if exchange.seconds is not None and exchange.seconds > LONGEST_ANSWER:
            yield f"I19: {what} waited {exchange.seconds:.1f} s for {exchange.status or exchange.problem}"
        if exchange.status is None:
            continue
        if not (200 <= exchange.status < 500 or exchange.status == 503):
            yield f"I19: {what} got {exchange.status}: {exchange.answer}"
        if exchange.status in (429, 503) and exchange.retry_after is None:
            yield f"I19: {what} got {exchange.status} without Retry-After"
