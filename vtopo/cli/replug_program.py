"""The program that a lab's supervisor starts when Docker has started a container anew: `… LAB` plugs it in again."""

from __future__ import annotations

import contextlib
import sys


def main(lab: str) -> None:
    """Do it, once nobody else works on the lab; nothing for a lab that is down."""
    from vtopo.cli.world import backends_of, state_dir
    from vtopo.run.replug import replug

    with contextlib.suppress(FileNotFoundError):
        replug(lab, backends_of(lab), state_dir())


if __name__ == "__main__":
    main(sys.argv[1])
