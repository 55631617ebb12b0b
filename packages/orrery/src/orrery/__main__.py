"""`python -m orrery` is the `orrery` command."""

from orrery.cli.main import main

if __name__ == "__main__":
    main()
