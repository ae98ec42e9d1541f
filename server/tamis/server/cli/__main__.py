"""`python -m tamis.server.cli` is `tamis`."""

from tamis.server.cli import main

if __name__ == "__main__":
    main()
