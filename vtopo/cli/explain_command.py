"""`vtopo explain`: a diagnostic at length, with a wrong and a right example."""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Iterator

import click

from vtopo.cli.console import Console, with_console
from vtopo.cli.errors import USAGE, Failure
from vtopo.lang.diagnostics import CODES
from vtopo.lang.explain.pages import Page, page
from vtopo.lang.suggest import closest

WIDEST = 90
"""Columns that a page fills at most: longer lines are hard to read."""


@click.command("explain", epilog="Example:  vtopo explain E0301")
@click.argument("code", required=False, metavar="[CODE]")
@with_console()
def command(console: Console, code: str | None) -> None:
    """What a diagnostic's CODE means, why it is one, and how it is put right; without CODE, all codes."""
    if code is None:
        _list(console)
        return
    found = page(_known(code))
    if console.json:
        console.facts(
            {
                "code": found.code,
                "title": found.title,
                "text": found.text,
                "wrong": found.wrong,
                "right": found.right,
            }
        )
        return
    width = min(shutil.get_terminal_size().columns, WIDEST)
    for line in _lines(console, found, width):
        console.fact(line)


def _list(console: Console) -> None:
    if console.json:
        console.facts({"codes": [{"code": code, "title": title} for code, title in CODES.items()]})
        return
    for code, title in CODES.items():
        console.fact(f"{console.style(code, 'bold')}  {title}")


def _known(written: str) -> str:
    """The code that is meant: in any case, as `e301` too; Failure names the nearest if there is none."""
    code = written.upper()
    short = re.fullmatch(r"([EW])([0-9]{1,4})", code)
    if short is not None:
        code = f"{short[1]}{short[2]:0>4}"
    if code in CODES:
        return code
    near = closest(code, [known.lower() for known in CODES])
    help = f"did you mean `{near.upper()}`?" if near else "`vtopo explain` lists all codes"
    raise Failure(f"there is no diagnostic `{written}`; {help}", USAGE)


def _lines(console: Console, page: Page, width: int) -> Iterator[str]:
    yield console.style(f"{page.code}: {page.title}", "bold")
    yield ""
    yield from _prose(console, page.before, width)
    for title, example in (("Wrong", page.wrong), ("Right", page.right)):
        yield console.style(title, "bold")
        yield from textwrap.indent(example.rstrip("\n"), "    ").split("\n")
        yield ""
    yield from list(_prose(console, page.after, width))[:-1]


def _prose(console: Console, text: str, width: int) -> Iterator[str]:
    """Headings, items and paragraphs, wrapped anew; an empty line after each paragraph and each list."""
    for block in text.split("\n\n"):
        if block.startswith("## "):
            heading, _, block = block.removeprefix("## ").partition("\n")
            yield console.style(heading, "bold")
        for part in re.split(r"\n(?=- )", block):
            yield from _wrapped(part, width)
        yield ""


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(
        " ".join(text.split()),
        width,
        subsequent_indent="  " if text.startswith("- ") else "",
        break_long_words=False,
        break_on_hyphens=False,
    )
