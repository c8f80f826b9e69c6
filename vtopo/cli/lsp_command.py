"""`vtopo lsp`: the language server, for editors."""

from __future__ import annotations

import sys

import click

from vtopo.cli.console import Console, with_console
from vtopo.cli.errors import DONE, FAILED, USAGE, Failure


@click.command("lsp", epilog="Example:  an editor starts it; see docs/editors.md")
@with_console(json=False)
def command(console: Console) -> int:
    """Serve an editor: the language server protocol on standard input and output."""
    try:
        from vtopo.editor.stdio import Unusable, serve
    except ImportError as e:
        if (e.name or "").partition(".")[0] not in {"pygls", "lsprotocol"}:
            raise
        raise Failure("`vtopo lsp` needs the package pygls: pip install 'vtopo[lsp]'") from e
    if sys.stdin.isatty():
        console.note("this is for an editor, which starts it itself; Ctrl-C ends it")
    try:
        left = serve(sys.stdin.buffer, sys.stdout.buffer)
    except Unusable as e:
        raise Failure("`vtopo lsp` speaks over pipes: an editor starts it", USAGE) from e
    return DONE if left else FAILED
