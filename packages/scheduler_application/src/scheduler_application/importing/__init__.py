"""Workflows from what other schedulers were told."""
