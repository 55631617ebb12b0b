"""Alerts: what somebody must be told of."""
