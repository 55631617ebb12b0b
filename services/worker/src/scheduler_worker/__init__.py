"""The process that claims attempts and executes them. Start at `main.run`; an attempt's life is `pipeline`."""
