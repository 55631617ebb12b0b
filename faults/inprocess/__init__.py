"""Crash points: processes that are object graphs over a real store, each of which dies where it is told."""
