"""Where a process is put together: `settings`, `containers` (who is who) and `lifecycle` (what opens and closes
when)."""
