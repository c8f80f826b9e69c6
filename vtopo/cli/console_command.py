"""`vtopo console`: a VM's serial console."""

from __future__ import annotations

import os
import sys

import click

from vtopo.cli.console import Console, with_console
from vtopo.cli.errors import DONE, Failure
from vtopo.cli.own_world import enter_world
from vtopo.cli.running import running_vm
from vtopo.cli.world import failures_in_words


@click.command("console", epilog="Example:  vtopo console fw")
@click.option("--lab", help="The lab, where several have such a VM.")
@click.option("--log", is_flag=True, help="Print what the guest has said since its start, and nothing else.")
@click.argument("vm")
@with_console(json=False)
def command(console: Console, vm: str, lab: str | None, log: bool) -> int:
    """Connect with the serial console of VM; Ctrl-] leaves it."""
    from vtopo.backends.diskfolder import DiskFolder
    from vtopo.backends.hypervisor import Hypervisor
    from vtopo.backends.vm_console import attach

    enter_world()
    domain, of = running_vm(vm, lab)
    if log:
        path = DiskFolder(of).file(domain.console)
        try:
            sys.stdout.buffer.write(path.read_bytes())
        except OSError as e:
            raise Failure(f"{path}: {os.strerror(e.errno or 0)}") from e
        return DONE
    if sys.stdin.isatty():
        console.note(f"{vm}'s console; Ctrl-] leaves it")
    with failures_in_words(console, {}):
        return attach(Hypervisor(), domain.name)
