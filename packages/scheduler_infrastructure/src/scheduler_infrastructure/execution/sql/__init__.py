"""One SQL statement of a task on a named connection: its parameters, its execution, its rows as JSON."""
