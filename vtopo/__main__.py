"""`python -m vtopo` is `vtopo`."""

from vtopo.cli.entry import main

if __name__ == "__main__":
    main()
