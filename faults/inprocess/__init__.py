"""Crash points in one process: installations of object graphs over a real store, each of which dies where it is told."""
