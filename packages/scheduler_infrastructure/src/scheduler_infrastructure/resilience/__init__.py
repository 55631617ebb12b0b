"""How every call to the outside is bounded: deadlines, breakers, retries."""
