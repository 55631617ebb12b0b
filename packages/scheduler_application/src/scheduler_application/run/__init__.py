"""The life of a run: `start` → `claim` → `record` → `advance` (in the same transaction) → `announce`.

`control` has what people do to runs; `wake`, `relay` and `worker.recover` are what the leader does.
"""
