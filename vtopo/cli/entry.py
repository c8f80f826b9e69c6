"""The program `vtopo`: `exec` in a host and `link A B down|up` are done at once, all else by the command line proper.

A script runs `vtopo exec` a hundred times, and a fault is not to wait; most of their time would go into loading what
reads options and records. So it is looked at here whether the words are plain and it is done, and whatever is not so is
left to the command line proper, which says what is wrong. `up FILE` is begun here for the same reason.
"""

from __future__ import annotations

import gc
import os
import sys

from vtopo.model.kinds import ENTERED


def main() -> None:
    """Run the command line of this process; it does not return."""
    # A command is over soon, and labs are trees: looking for cycles to free takes a twentieth of a large `up`.
    gc.disable()
    try:
        status = at_once(sys.argv[1:])
        if status is None:
            _open_standard_streams()
            _begin(sys.argv[1:])
            from vtopo.cli.main import main as proper

            proper()
    except KeyboardInterrupt:  # while there was nobody yet to take it
        print("interrupted", file=sys.stderr)
        status = 130
    os._exit(status)


def _open_standard_streams() -> None:
    """Where the caller has closed one (`>&-`), nothing else is to get its number, and be printed into."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            while os.open(os.devnull, os.O_RDWR) < number:
                pass
            setattr(sys, name, os.fdopen(number, mode))


def _begin(words: list[str]) -> None:
    """Begin what is certain of plain words."""
    if len(words) != 2 or words[0] != "up" or words[1].startswith("-") or not words[1].endswith(".vlab"):
        return
    if os.geteuid() == 0 and "_VTOPO_COMPLETE" not in os.environ:
        from vtopo.cli.ahead import look_ahead

        look_ahead(words[1])


def at_once(words: list[str]) -> int | None:
    """The exit status of what was done; None if nothing was."""
    if os.geteuid() != 0 or "_VTOPO_COMPLETE" in os.environ:
        return None
    if words[:1] == ["exec"]:
        return _exec_at_once(words[1:])
    if len(words) == 4 and words[0] == "link" and words[3] in ("down", "up"):
        return _link_at_once(*words[1:])
    return None


def _link_at_once(one: str, other: str, state: str) -> int | None:
    """The exit status of `link ONE OTHER down|up`; what failed can be tried again, and its reason be told."""
    if one.startswith("-") or other.startswith("-") or _is_in_world():
        return None
    from vtopo.cli.links import set_state

    try:
        print(set_state(one, other, None, state), flush=True)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except Exception:
        return None
    return 0


def _is_in_world() -> bool:
    """Whether this is a world of an ordinary user's: there are others to enter then."""
    return os.path.exists("/run/vtopo-keeper")  # noqa: PTH110


def _exec_at_once(words: list[str]) -> int | None:
    """The exit status of `exec NODE [--] COMMAND…`; None if that is not all there is to it."""
    lab, node, argv = _plain(words)
    if not argv or _is_in_world():
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
