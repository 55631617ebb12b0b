"""What other systems and libraries know, behind the application's ports."""
