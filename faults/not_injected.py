"""What a fault raises that this machine does not permit: a verdict of its own."""


class NotInjected(Exception):
    """The message says what is not permitted, and why."""
