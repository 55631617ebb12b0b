"""Processes that are certain to end: a spawner forks keepers, and a keeper runs one process tree at a time and ends
all of it."""
