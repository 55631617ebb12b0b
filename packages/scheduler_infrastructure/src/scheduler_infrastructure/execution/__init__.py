"""How task kinds are executed on a worker: one file per kind, over a supervisor that leaves no process behind."""
