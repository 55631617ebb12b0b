"""Code of the example workflows: plain functions; what they return becomes the task's output."""

from datetime import datetime


def greet(name: str, moment: str) -> dict[str, str]:
    """Greets according to the hour of ``moment`` (ISO 8601, with its offset)."""
    hour = datetime.fromisoformat(moment).hour
    part = "morning" if hour < 12 else "afternoon" if hour < 18 else "evening"
    message = f"Good {part}, {name}!"
    print(message)
    return {"message": message}


def measure(words: list[str]) -> dict[str, int]:
    """The length of each word."""
    return {word: len(word) for word in words}
