"""The use cases of Orrery and the ports that they need.

A use case is a class with ``execute``; its command is a frozen dataclass beside it. Files are named by the moment in
a noun's life (`run.start`, `run.claim`, `run.record`, `schedule.fire`). Nothing here knows SQL, HTTP or a broker.
"""
