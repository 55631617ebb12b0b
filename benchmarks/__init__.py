"""How fast Orrery is, measured end to end: `uv run python -m benchmarks MEASURE`, one module of `measures/` for each.

Each measure starts real processes over real servers, prints a table where it has more than a few figures, and last one
line of JSON. Figures are for ratios taken in one run on one machine, not for quoting.
"""
