"""How fast Orrery is, measured end to end: `uv run python -m benchmarks throughput|latency|chain|fanout|schedules`.

Each command starts real processes over real servers and prints one line of JSON; `schedules` prints a table before it.
Figures are for ratios taken in one run on one machine, not for quoting.
"""
