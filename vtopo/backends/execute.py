"""execvpe(3) for children that have entered a host already.

Python's own imports a module first: from there, out of the host's root file system, which may be somebody else's.
"""

from __future__ import annotations

import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def execute(argv: list[str], env: dict[str, str]) -> NoReturn:
    """Be the command, which is looked for along `env`'s PATH; an OSError says why that cannot be."""
    if "/" in argv[0]:
        os.execve(argv[0], argv, env)  # noqa: S606
    error = OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    for folder in env["PATH"].split(":"):
        try:
            os.execve(f"{folder or '.'}/{argv[0]}", argv, env)  # noqa: S606
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as e:
            error = e
    raise error
