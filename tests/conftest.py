"""`--rewrite-golden` writes what is now, for review in the diff; what several processes share among them, and what a
test says of itself besides that it passed."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

os.environ["VTOPO_FROZEN"] = (
    "1"  # before anything of vtopo is imported; system tests run vtopo without, as users do
)

if TYPE_CHECKING:
    from xdist.remote import Producer
    from xdist.scheduler import LoadScopeScheduling
    from xdist.workermanage import WorkerController


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite-golden", action="store_true", help="rewrite the golden files")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """With `-n 2`, one process has the system tests, which look at the whole machine, and the other all else."""
    from xdist.scheduler import LoadScopeScheduling

    class SystemApart(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "system" if nodeid.startswith("tests/system/") else super()._split_scope(nodeid)

        def _assign_work_unit(self, node: WorkerController) -> None:
            # What takes longest begins first, and all that is small is left for whoever is done.
            for scope in ("tests/guest/test_debian_guest.py", "system"):
                if scope in self.workqueue:
                    self.workqueue.move_to_end(scope, last=False)
            super()._assign_work_unit(node)

    return SystemApart(config, log)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{name}: {value}")


def pytest_configure() -> None:
    # What a shell starts in the background ignores SIGINT, and so would the commands that tests interrupt.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
