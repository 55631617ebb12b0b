"""When things are due: pure sequences of instants. Start at `timetable`; `cron_parsing` has the cron language."""
