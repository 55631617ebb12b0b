"""The process that fires, relays and recovers. Start at `main.run`; what it does is the table in `loops`."""
