"""`python -m glassnet` is the command line too."""

from glassnet.cli import main

if __name__ == "__main__":
    main()
