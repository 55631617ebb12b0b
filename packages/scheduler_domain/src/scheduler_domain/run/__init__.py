"""One execution of a version: its states, what an outcome means, what is planned next. Start at `states`."""
