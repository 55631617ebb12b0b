"""Chance for adapters whose pauses a test does not care about."""

import random


class Chance:
    """The port `Randomness`."""

    def uniform(self, low: float, high: float) -> float:
        return random.uniform(low, high)
