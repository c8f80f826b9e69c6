"""The grammar as plain data: Lark works it out once, and it is kept with Python's own compiled code."""

from __future__ import annotations

import contextlib
import functools
import marshal
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from vtopo.digests import sha256
from vtopo.values import dataclass

if TYPE_CHECKING:
    from lark import Lark, Token

_FORM = 1
"""The form of what is kept; another one is worked out anew."""

Rule: TypeAlias = tuple[str, int, "tuple[tuple[int, bool], ...] | None", bool]
"""A rule's name and how many children it has; which of them its node takes, and whether those are lists that are
taken apart (None: all as they are); whether a single one is the node."""


@dataclass(frozen=True, slots=True)
class Grammar:
    """What lexing and parsing go by.

    `patterns` are the terminals in the order in which they are tried, as regular expressions; `words` are those that
    are names but for their text. `rows` say what a state does with a terminal, or with the name of a rule that ended:
    the number of the state that follows, or `~n` where rule `n` ends. `starts` and `ends` are the states before and
    after a whole text, by the name of what it is.
    """

    patterns: Mapping[str, str]
    words: Mapping[str, str]
    rules: Sequence[Rule]
    rows: Mapping[int, Mapping[str, int]]
    starts: Mapping[str, int]
    ends: Mapping[str, int]


@functools.cache
def grammar_file() -> Path:
    """Where the grammar is: beside this module in an installed package, in grammar/ in a working tree."""
    here = Path(__file__).resolve()
    installed = here.with_name("vlab.lark")
    return installed if installed.exists() else here.parents[2] / "grammar" / "vlab.lark"


def grammar_text() -> str:
    """The grammar."""
    return grammar_file().read_text("utf-8")


def grammar() -> Grammar:
    """The grammar; with Lark that takes as long as all else that a small file needs, so it is kept.

    Who can write where it is kept can change what we run anyway; where we cannot, it is worked out each time. What
    is stale is told by a hash of the grammar.
    """
    text = grammar_text()
    key = sha256(f"{_FORM} {text}".encode()).digest()
    file = _place()
    with contextlib.suppress(OSError, ValueError, EOFError, TypeError):
        kept = file.read_bytes()
        if kept.startswith(key):
            return Grammar(*marshal.loads(kept[len(key) :]))  # noqa: S302  as safe as the code beside it
    made = _worked_out(text)
    if not sys.dont_write_bytecode and os.access(file.parent, os.W_OK):
        values = (made.patterns, made.words, made.rules, made.rows, made.starts, made.ends)
        _keep(file, key + marshal.dumps(values))  # type: ignore[arg-type]  # plain dicts, all of them
    return made


def _place() -> Path:
    return Path(__file__).resolve().parent / "__pycache__" / f"vlab.{sys.implementation.cache_tag}.grammar"


def _keep(file: Path, data: bytes) -> None:
    draft = file.with_suffix(f".{os.getpid()}")
    try:
        draft.write_bytes(data)
        draft.replace(file)
    except OSError:
        draft.unlink(missing_ok=True)


class _AllKept:
    """Lark's post-lexer: it keeps the terminals that no rule takes, which are there so that lexing never fails."""

    always_accept = ("OPEN_LONG_STRING", "OPEN_STRING", "STRAY")

    def process(self, stream: Iterator[Token]) -> Iterator[Token]:
        """What Lark's own lexer finds, which is not asked."""
        return stream


def _worked_out(text: str) -> Grammar:
    from lark import Lark
    from lark.parsers.lalr_analysis import Shift

    lark = Lark(text, start=["start", "expression"], parser="lalr", lexer="basic", postlex=_AllKept())
    table: Any = lark.parse_interactive("", start="start").parser_state.parse_conf.parse_table
    numbers = {rule: number for number, rule in enumerate(lark.rules)}
    rows = {
        state: {str(name): to if action is Shift else ~numbers[to] for name, (action, to) in row.items()}
        for state, row in table.states.items()
    }
    return Grammar(
        *_terminals(lark), tuple(map(_rule, lark.rules)), rows, table.start_states, table.end_states
    )


def _terminals(lark: Lark) -> tuple[dict[str, str], dict[str, str]]:
    """The terminals' patterns, and the words."""
    from lark.lexer import PatternStr

    terminals = lark._build_lexer().terminals
    name = re.compile(lark.get_terminal("NAME").pattern.to_regexp())
    words = {
        terminal.pattern.value: str(terminal.name)
        for terminal in terminals
        if isinstance(terminal.pattern, PatternStr) and name.fullmatch(terminal.pattern.value)
    }
    kinds = set(words.values())
    return {str(t.name): t.pattern.to_regexp() for t in terminals if t.name not in kinds}, words


def _rule(rule: Any) -> Rule:
    taken = tuple(
        (at, not symbol.is_term and symbol.name.startswith("_"))
        for at, symbol in enumerate(rule.expansion)
        if rule.options.keep_all_tokens or not (symbol.is_term and symbol.filter_out)
    )
    whole = len(taken) == len(rule.expansion) and not any(apart for _, apart in taken)
    return str(rule.origin.name), len(rule.expansion), None if whole else taken, rule.options.expand1
