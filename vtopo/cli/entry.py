"""The program `vtopo`: `exec` in a host is done at once, and all else by the command line proper.

A script runs `vtopo exec` a hundred times; most of its time would go into loading what reads options and records. So it
is looked at here whether the words are plain and the host is recorded and runs, and whatever is not plain is left to
the command line proper, which says what is wrong.
"""

from __future__ import annotations

import os
import sys

from vtopo.model.kinds import ENTERED


def main() -> None:
    """Run the command line of this process; it does not return."""
    status = _exec_at_once(sys.argv[1:])
    if status is None:
        from vtopo.cli.main import main as proper

        proper()
    else:
        os._exit(status)


def _exec_at_once(words: list[str]) -> int | None:
    """The exit status of `exec NODE [--] COMMAND…`; None if that is not all there is to it."""
    if words[:1] != ["exec"] or os.geteuid() != 0 or "_VTOPO_COMPLETE" in os.environ:
        return None
    lab, node, argv = _plain(words[1:])
    if not argv or os.path.exists("/run/vtopo-keeper"):  # noqa: PTH110  without root there is a world to enter
        return None
    from vtopo.state.glance import host

    found = host(node, ENTERED, lab)
    if found is None:
        return None
    from vtopo.backends.enter import run_in_host
    from vtopo.backends.handle import BackendError, Handle

    try:
        return run_in_host(Handle(*found.handle), argv, found.env)
    except BackendError:
        return None


def _plain(words: list[str]) -> tuple[str | None, str, list[str]]:
    """The lab, the node and the command; without a command if the words are not plain."""
    lab = None
    if words[:1] == ["--lab"]:
        lab, words = words[1] if len(words) > 1 else "", words[2:]
    if len(words) < 2 or words[0].startswith("-") or lab == "" or (lab and ("/" in lab or "." in lab)):
        return None, "", []
    node, *argv = words
    return lab, node, argv[1:] if argv[0] == "--" else argv
