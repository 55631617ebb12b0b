"""What the clock starts: `fire` for the leader, `manage` for people, `preview` for everybody; and `calendars`, the days
that triggers leave out."""
