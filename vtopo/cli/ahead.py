"""Has a lab that is up looked at before the command line is loaded, which takes as long as a part of the look."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from vtopo.cli.reading import read_source
from vtopo.lang import labname
from vtopo.run.early import EarlyLook
from vtopo.state.folder import StateDir, StateError
from vtopo.state.lock import LockHeld

if TYPE_CHECKING:
    from vtopo.backends.base import Backend

_begun: list[EarlyLook] = []


def look_ahead(file: str) -> None:
    """Begin to look at the lab of a file, if it has records; whatever stands in the way of that is told by the command.

    By itself this changes nothing but that the lab's lock is taken.
    """
    if not os.path.isfile(file):  # noqa: PTH113  what can be read only once is the command's
        return
    with contextlib.suppress(Exception):
        source = read_source(file)
        look = look_at(labname.guess(source.text, source.path), StateDir.default())
        if look is not None:
            _begun.append(look)


def begun(lab: str) -> EarlyLook | None:
    """The look that was begun at a lab, to be closed by whoever asks; one at another lab is closed here."""
    while _begun:
        look = _begun.pop()
        if look.lab == lab:
            return look
        look.close()
    return None


def look_at(lab: str, state: StateDir) -> EarlyLook | None:
    """A look at a lab; None if it has no records, or they cannot be had: then the command waits, or says why."""
    if not (state.folder(lab) / "state.db").exists():
        return None
    with contextlib.suppress(LockHeld, StateError):
        return EarlyLook(state, lab, lambda: _backends(lab))
    return None


def _backends(lab: str) -> Sequence[Backend]:
    from vtopo.cli.world import backends_of

    return backends_of(lab)
