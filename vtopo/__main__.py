"""`python -m vtopo` is `vtopo`."""

from vtopo.cli.main import main

if __name__ == "__main__":
    main()
