"""Takes commands that touch the world into the world of an ordinary user, who needs no root there."""

from __future__ import annotations

import os
import sys

from vtopo.cli.errors import FAILED, Failure


def enter_world(start: bool = False) -> None:
    """Go on in this user's own world, if they are not root; with `start`, it is made where there is none.

    What called this is then another process, and this one waits for it. Where no world is to be made, nothing
    of this user's runs, and the command goes on where it is. Failure says what forbids a world.
    """
    if os.geteuid() == 0:
        return
    from vtopo.backends.base import BackendError
    from vtopo.backends.keeper import Door, living, run_inside
    from vtopo.cli.world import state_dir
    from vtopo.state.folder import StateError

    state = state_dir()
    try:
        door = Door(state.open_file("keeper", create=start))
    except FileNotFoundError:
        return
    except StateError as e:
        raise Failure(str(e), FAILED) from e
    try:
        keeper = living(door, start)
        if keeper is None:
            door.close()
            return
        # Inside we are root, whose records would be elsewhere.
        os.environ["VTOPO_STATE_DIR"] = str(state.path)
        sys.stdout.flush()
        sys.stderr.flush()
        run_inside(keeper, door, _is_empty)
    except BackendError as e:
        raise Failure(str(e), FAILED) from e
    except OSError as e:
        raise Failure(f"your labs' namespaces cannot be entered: {e.strerror}", FAILED) from e


def _is_empty() -> bool:
    """Whether there is no lab in this world."""
    from vtopo.backends.marks import labs_by_marks
    from vtopo.cli.world import state_dir
    from vtopo.state.store import labs

    return not (labs_by_marks() or any(lab.this_boot for lab in labs(state_dir())))
