"""SHA-256 without OpenSSL, which `hashlib` loads: that takes 6 ms, and most commands need a digest of a few bytes."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Protocol


class Digest(Protocol):
    """What `hashlib.sha256` makes."""

    def digest(self) -> bytes:
        """The 32 bytes."""
        ...

    def hexdigest(self) -> str:
        """They in hexadecimal digits."""
        ...


def _found() -> Callable[[bytes], Digest]:
    # CPython's own implementation, as it is called since 3.12 and before; a build may lack it.
    for module in ("_sha2", "_sha256"):
        try:
            made: Callable[[bytes], Digest] = importlib.import_module(module).sha256
        except ImportError:
            continue
        return made
    return importlib.import_module("hashlib").sha256  # type: ignore[no-any-return]


sha256 = _found()
"""The SHA-256 of bytes (FIPS 180-4)."""
