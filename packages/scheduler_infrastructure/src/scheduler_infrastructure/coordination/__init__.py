"""What processes tell one another through Redis; all of it may vanish."""
