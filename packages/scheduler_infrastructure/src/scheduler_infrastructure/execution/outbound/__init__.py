"""Requests to addresses that a user chose: which may be reached, and how much of an answer is read."""
