"""Heartbeats: jobs that live elsewhere say that they live."""
