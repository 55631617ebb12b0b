"""What the clock starts: `fire` for the leader, `manage` for people, `preview` for everybody."""
