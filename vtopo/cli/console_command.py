"""`vtopo console`: a VM's serial console."""

from __future__ import annotations

import sys

import click

from vtopo.cli.connect import with_connect
from vtopo.cli.console import Console, with_console
from vtopo.cli.errors import DONE, Failure
from vtopo.cli.own_world import enter_world
from vtopo.cli.running import running_vm
from vtopo.cli.world import failures_in_words, hypervisor_of


@click.command("console", epilog="Example:  vtopo console fw")
@click.option("--lab", help="The lab, where several have such a VM.")
@click.option("--log", is_flag=True, help="Print what the guest has said since its start, and nothing else.")
@click.argument("vm")
@with_connect
@with_console(json=False)
def command(console: Console, vm: str, lab: str | None, log: bool) -> int:
    """Connect with the serial console of VM; Ctrl-] leaves it."""
    from vtopo.backends.console_log import ConsoleLog
    from vtopo.backends.diskfolder import DiskFolder
    from vtopo.backends.vm_console import attach

    enter_world()
    domain, of = running_vm(vm, lab)
    if log:
        console_log = ConsoleLog(DiskFolder(of).file(domain.console))
        if not console_log.exists():
            raise Failure(f"`{vm}` has no log: it was never started, or its lab is down")
        click.echo(console_log.data(), nl=False)
        return DONE
    if sys.stdin.isatty():
        console.note(f"{vm}'s console; Ctrl-] leaves it")
    with failures_in_words(console, {}):
        return attach(hypervisor_of(of), domain.name)
