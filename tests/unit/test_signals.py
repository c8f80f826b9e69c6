"""Signals that are for what runs elsewhere: none is lost, and none waits for what this process does."""

# ruff: noqa: PTH208

from __future__ import annotations

import hashlib
import os
import signal
import threading
import time
from collections.abc import Callable

from vtopo.backends.awaited import Held
from vtopo.backends.forwarding import forwarded


def forked(work: Callable[[], int]) -> int:
    """The exit status of a child that does it: what it does to its signals is its own affair."""
    pid = os.fork()
    if pid == 0:
        status = 99
        try:
            status = work()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_what_came_before_the_wait_is_passed_on_in_it() -> None:
    def work() -> int:
        held = Held()
        for number in (signal.SIGTERM, signal.SIGHUP):
            os.kill(os.getpid(), number)
        time.sleep(0.05)
        ours, theirs = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(theirs)
            os.read(ours, 1)
            os._exit(5)
        os.close(ours)
        seen: list[int] = []

        def send(number: int) -> None:
            seen.append(number)
            if len(seen) == 2:
                os.close(theirs)

        status = os.waitstatus_to_exitcode(held.wait(pid, send))
        held.release()
        return status if sorted(seen) == [signal.SIGHUP, signal.SIGTERM] else 1

    assert forked(work) == 5


def test_a_childs_end_is_seen_where_the_caller_ignores_ends() -> None:
    def work() -> int:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        held = Held()
        pid = os.fork()
        if pid == 0:
            os._exit(6)
        status = os.waitstatus_to_exitcode(held.wait(pid, lambda _: None))
        held.release()
        return status if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN else 1

    assert forked(work) == 6


def test_all_is_as_before_afterwards() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    Held().release()
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


def test_a_signal_is_handed_on_while_this_process_is_in_a_call() -> None:
    """A handler in Python would run only after it, as it would after a call that is about to block."""
    began = time.monotonic()
    hashlib.pbkdf2_hmac("sha256", b"", b"", 50_000)
    rounds = int(50_000 * 0.6 / (time.monotonic() - began))
    handler = signal.getsignal(signal.SIGUSR1)
    seen: list[tuple[int, float]] = []
    with forwarded(lambda number: seen.append((number, time.monotonic())), (signal.SIGUSR1,)):
        timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR1))
        timer.start()
        hashlib.pbkdf2_hmac("sha256", b"", b"", rounds)
        end = time.monotonic()
        timer.join()
    assert [number for number, _ in seen] == [signal.SIGUSR1]
    assert seen[0][1] < end
    assert signal.getsignal(signal.SIGUSR1) == handler


def test_the_pipe_and_the_thread_go_with_it() -> None:
    for _ in range(2):
        files, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
        with forwarded(lambda _: None):
            pass
        assert (len(os.listdir("/proc/self/fd")), threading.active_count()) == (files, threads)
