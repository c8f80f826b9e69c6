"""The command line's front door: finds a command's module when it is called for, and turns errors into words."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

import click

from vtopo import __version__
from vtopo.cli.errors import DONE, FAILED, INTERRUPTED, USAGE, Failure
from vtopo.run.interrupt import STOPPING

COMMANDS = {
    "up": "make the world match a lab file",
    "down": "take a lab away, leaving nothing",
    "plan": "what `up` would do, and why",
    "check": "every error and warning of lab files",
    "fmt": "lab files in the one canonical layout",
    "import": "a Compose file or a containerlab topology as a lab",
    "compile": "write what a lab compiles to",
    "graph": "draw a lab",
    "ls": "the labs on this machine",
    "stats": "what nodes and links use",
    "status": "a lab's nodes, addresses and drift",
    "exec": "run a command in a node",
    "shell": "a shell in a node",
    "logs": "what a node's daemons have printed",
    "node": "stop, start, pause or kill what runs in a node",
    "console": "a VM's serial console",
    "snapshot": "save a lab's VMs, list and remove what was saved",
    "restore": "bring a lab's VMs back to a snapshot",
    "link": "take links down and up, impair them",
    "capture": "packets of interfaces, for the terminal and Wireshark",
    "partition": "part nodes from others",
    "heal": "undo faults and drift",
    "test": "try a lab's expectations",
    "doctor": "what this machine can do, and what a lab needs of it",
    "explain": "a diagnostic at length, with examples",
    "lsp": "serve an editor: checks while typing, completion, names",
    "completion": "a shell's script that completes words",
}
"""Every command with its line in the help; each stands in a module of its name."""

COMPLETING = "_VTOPO_COMPLETE"
"""The environment variable by which a shell's script asks how a line may go on; click's own name for it."""


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"vtopo.cli.{cmd_name}_command")
        command: click.Command = module.command
        if COMPLETING in os.environ:
            from vtopo.cli.shells import complete_parameters

            complete_parameters(command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            from vtopo.lang.suggest import did_you_mean

            help = did_you_mean(args[0], COMMANDS, "`vtopo --help` lists the commands")
            raise click.UsageError(f"there is no command `{args[0]}`; {help}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with:  vtopo up labs/quickstart.vlab",
)
@click.version_option(__version__, message="vtopo %(version)s")
def cli() -> None:
    """Labs from text: hosts, containers, VMs, bridges, links and overlays, made real and taken away again."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with its status."""
    for number in STOPPING:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup(1) and a shell's `&` want it
            signal.signal(number, _interrupt)
    _leave(run(arguments))


def _leave(status: int) -> NoReturn:
    """Exit without taking every object apart first, which takes another tenth of a large `check`."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            status = status or FAILED  # the reader went away, or the disk is full
    os._exit(status)


class _Interrupted(BaseException):
    """One of the STOPPING signals outside a run, which defers them.

    Not KeyboardInterrupt: one that passes through `exec` of a text, as dataclasses are made, has Python end by
    SIGINT whoever catches it.
    """


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)
    raise _Interrupted


def _is_of_output(error: OSError) -> bool:
    """Whether it is what we print that could not be written."""
    frame = error.__traceback__
    while frame is not None and frame.tb_frame.f_code is not click.echo.__code__:
        frame = frame.tb_next
    return frame is not None


def _output_is_lost(error: OSError) -> int:
    """Say so where that can still be said, and have nothing else tried."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    with contextlib.suppress(OSError):
        reason = os.strerror(error.errno or 0).lower()
        click.echo(f"error: standard output could not be written: {reason}", err=True)
        return FAILED
    os.dup2(nowhere, sys.stderr.fileno())
    return FAILED


def _say(text: str, color: bool | None = None) -> None:
    """A last word on standard error, if anybody is there to hear it: the terminal may be gone."""
    with contextlib.suppress(OSError):
        click.echo(text, err=True, color=color)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; its exit status: 0 done, 1 failed, 2 wrong usage or a bad file, 130 interrupted."""
    if COMPLETING in os.environ:
        importlib.import_module("vtopo.cli.shells")
    try:
        result = cli.main(args=arguments, prog_name="vtopo", standalone_mode=False)
    except Failure as e:
        if e.text:
            _say(f"{click.style('error', fg='red', bold=True)}: {e.text}", e.color)
        return e.status
    except click.ClickException as e:
        with contextlib.suppress(OSError):
            e.show()
        return USAGE
    except (click.Abort, KeyboardInterrupt, _Interrupted):
        _say("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away (`vtopo ls | head -1`); nothing is left to say to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as e:
        if isinstance(e, OSError) and _is_of_output(e):
            return _output_is_lost(e)
        from vtopo.state.folder import StateError

        if isinstance(e, StateError):
            _say(f"error: {e}")
            return FAILED
        if os.environ.get("VTOPO_DEBUG"):
            raise
        _say(f"error: vtopo itself is at fault: {type(e).__name__}: {e}")
        _say("please report it with the output of the same command under VTOPO_DEBUG=1")
        return FAILED
    return result if isinstance(result, int) else DONE
