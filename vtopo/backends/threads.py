"""Work in another network namespace, done by a thread that ends with it: no caller is ever left in the wrong one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def apart(work: Callable[[], T]) -> T:
    """The result of `work`, run in a thread of its own, which may call setns(2) and unshare(2) as it likes.

    An interrupt is raised only after the work has ended, so that it never runs on unattended.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as e:
            errors.append(e)

    thread = threading.Thread(target=run, name="vtopo-netns")
    thread.start()
    try:
        thread.join()
    except BaseException:
        thread.join()
        raise
    if errors:
        raise errors[0]
    return results[0]
