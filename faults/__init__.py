"""The fault suite: breaks a whole installation on purpose, under load, and asks independent witnesses whether anything
was lost or doubled.

``uv run python -m faults --tier 2 --seed 7``; what it is and how to read it: docs/operate/fault-suite.md. Nothing of
the product knows of it. To add a fault, read `faults.fault`.
"""
