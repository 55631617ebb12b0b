"""One file per change, named by what it does."""
