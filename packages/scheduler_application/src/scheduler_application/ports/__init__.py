"""What the outside must provide: one file per kind of outside. Each method's docstring is its contract."""
