"""Syntax errors in the reader's words: what was found, what could stand there, what was probably meant."""

from __future__ import annotations

from vtopo.lang.diagnostics import Diagnostics
from vtopo.lang.source import Range, Source
from vtopo.lang.suggest import closest, either
from vtopo.lang.tokens import Token
from vtopo.values import dataclass

STATEMENT_WORDS = (
    *("lab", "use", "host", "container", "vm", "bridge", "uplink", "link", "overlay", "pool", "machine"),
    *("expect", "scenario", "param", "let", "for", "if", "template", "default"),
)
"""The words that begin a statement outside of all blocks."""

RESERVED = frozenset(
    {
        *STATEMENT_WORDS,
        "vtep",
        "not",
        "none",
        "self",
        "else",
        "on",
        "off",
        "true",
        "false",
        "and",
        "or",
        "in",
        "as",
    }
)
"""Words that cannot be declared as names."""

_READABLE = (
    ("a node's name", {"NAME"}),
    ("an address", {"IPV4", "IPV6"}),
    ("a number", {"INTEGER"}),
    ("`*`", {"STAR"}),
    ("`:` and a name", {"COLON"}),
    ("`--`", {"DASHDASH"}),
    ("`..`", {"DOTDOT"}),
    ("`,`", {"COMMA"}),
    ("`]`", {"RSQB"}),
    ("`)`", {"RPAR"}),
    ("`{`", {"LBRACE"}),
    ("`}`", {"RBRACE"}),
    ("the end of the statement", {"_SEP"}),
)
_NAMED = {
    "FOR": "a variable's name",
    "LET": "a variable's name",
    "PARAM": "a variable's name",
    "LAB": "the lab's name",
    "TEMPLATE": "a template's name",
    "OVERLAY": "an overlay's name",
    "POOL": "a pool's name",
    "MACHINE": "a machine's name",
    "AS": "a name",
}
"""What follows these words."""

_WORDS = frozenset(word.upper() for word in STATEMENT_WORDS)
"""The terminals that the parser would take where a statement may begin."""


@dataclass(frozen=True, slots=True)
class Unexpected:
    """A token that no rule takes: what it is (None at the end), what stood before it, what began the statement."""

    found: Token | None
    before: Token | None
    first: Token | None
    accepts: frozenset[str]
    in_block: bool


def report(unexpected: Unexpected, source: Source, diagnostics: Diagnostics) -> None:
    """Add the diagnostic that says it best."""
    token = unexpected.found
    if token is None:
        _at_the_end(unexpected, source, diagnostics)
        return
    place = _range(source, token)
    if token.type == "OPEN_STRING":
        diagnostics.add("E0103", "this string is not closed", place, 'no `"` before the line ends')
    elif token.type == "OPEN_LONG_STRING":
        place = Range(place.path, place.line, place.column, place.line, place.column + 3)
        diagnostics.add("E0103", "this string is not closed", place, 'no `"""` follows')
    elif token.type == "STRAY":
        _stray(unexpected, token, place, diagnostics)
    else:
        _unexpected(unexpected, token, place, source, diagnostics)


def _stray(unexpected: Unexpected, token: Token, place: Range, diagnostics: Diagnostics) -> None:
    first = token[0]
    place = Range(place.path, place.line, place.column, place.line, place.column + 1)
    help = ""
    if first in {"'", "`"}:
        help = 'strings are written "…"'
    elif unexpected.first is not None and unexpected.first.type == "NAME" and first == "~":
        help = _IN_QUOTES.format(unexpected.first)
    elif not first.isascii():
        help = "names are made of ASCII letters, digits, `_` and single hyphens"
    shown = first if first.isprintable() else f"\\x{ord(first):02x}"
    diagnostics.add("E0102", f"unexpected character `{shown}`", place, _expected(unexpected), help=help)


def _unexpected(
    unexpected: Unexpected, token: Token, place: Range, source: Source, diagnostics: Diagnostics
) -> None:
    first = unexpected.first
    word = str(first) if first is not None and first.type == "NAME" else ""
    help = _usage(unexpected, token)
    near = closest(word, STATEMENT_WORDS) if word and first is not token and not help else None
    if near is not None and token.type != "RBRACE" and first is not None:
        diagnostics.add(
            "E0202",
            f"`{word}` begins no statement",
            _range(source, first),
            help=f"did you mean `{near}`?",
        )
        return
    message = f"unexpected `{_short(token)}`"
    if token.type == "_SEP":
        message = "this statement ends too early"
        place = Range(place.path, place.line, place.column, place.line, place.column + 1)
    diagnostics.add(
        "E0101", message, place, _expected(unexpected), help=help or _misplaced(unexpected, token)
    )


def _misplaced(unexpected: Unexpected, token: Token) -> str:
    """What this token is for, where that helps."""
    if str(token) in RESERVED and "NAME" in unexpected.accepts:
        return f"`{token}` is a word of the language and cannot be a name"
    if str(token) == "--":
        return f"{_LINK}, with that word before it"
    if str(token) == "/" and unexpected.first in {None, token}:
        return "a comment begins with `#`"
    if str(token) == "-":
        return "a link is written `a -- b`; a name has single hyphens between letters or digits"
    if token.type == "LBRACE" and unexpected.first in {None, token}:
        return "`{` stands on the line of the statement that it belongs to"
    if token.type == "RBRACE" and not unexpected.in_block:
        return "no block is open here"
    return ""


def _usage(unexpected: Unexpected, token: Token) -> str:
    """How this statement is written, for what other languages have readers expect; nothing if that is not known."""
    first, before, found = unexpected.first, unexpected.before, str(token)
    if first is None or before is None:
        return ""
    begins = before is first
    if begins and found == ":":
        return "no `:` stands after the first word"
    if before == ":" and token.type == "_SEP":
        return "a block stands in `{ }`, and what follows `:` on its line"
    if before == "}" and token.type.lower() in STATEMENT_WORDS:
        return "a statement ends with its line, or at `;`"
    if first.type == "NAME" and found in _OF_PATHS:
        return _IN_QUOTES.format(first)
    if first.type == "NAME" and found == "," and closest(first, STATEMENT_WORDS, NEARLY) is None:
        return "values have spaces between them, properties `;` or a new line; a list stands in `[ ]`"
    if first.type == "LINK" and (found in _LINKLIKE or (begins and found == "[")):
        return _LINK
    if first.type in {"LINK", "VTEP"} and unexpected.accepts == {"DASHDASH"}:
        return f"its ends have `--` between them: `{first} a -- b`"
    if before.type == "TOUCHING_LSQB" and found == "..":
        return "a range has both its ends: `[1..4]`"
    if first.type in {"PARAM", "LET"} and found in _OF_TEXTS:
        return _IN_QUOTES.format(f"{first} … =")
    if first.type == "USE" and begins:
        return 'a file\'s name stands in quotes: `use "rack.vlab" as rack1`'
    if first.type in _NODES and found == ",":
        return f"each has a statement, `{first} a; {first} b`, or they are a range, `{first} h[1..2]`"
    if first.type == "NAME" and token.type in _LOOSE and (begins or token.type == "COMPARE"):
        return f"a sign, a comparison or a `not` stands in parentheses: `{first} (…)`"
    return ""


NEARLY = 0.74
"""How alike a word and a statement's are that is only mistyped: `hots`, but not `forward` and `for`."""

_LINK = "a link is written `link a -- b`"
_OF_PATHS = frozenset({"/", ".", ".."})
_OF_TEXTS = frozenset({*_OF_PATHS, ":"})
_IN_QUOTES = 'a path, as any text, stands in quotes: `{} "…"`'
_LINKLIKE = frozenset({"->", "<-", ",", "-"})
_NODES = frozenset({"HOST", "CONTAINER", "VM", "BRIDGE", "UPLINK"})
_LOOSE = frozenset({"SIGN", "COMPARE", "NOT"})


LONGEST_SHOWN = 40
"""Characters of a token that a message has; a string may be as long as a file."""


def _short(token: str) -> str:
    """A token's first line, cut where it is long."""
    line, _, more = token.strip().partition("\n")
    return f"{line[:LONGEST_SHOWN].rstrip()}…" if more or len(line) > LONGEST_SHOWN else line


def _at_the_end(unexpected: Unexpected, source: Source, diagnostics: Diagnostics) -> None:
    before = unexpected.before
    line, column = (before.end_line or 1, before.end_column or 1) if before is not None else (1, 1)
    place = Range(source.path, line, column, line, column + 1)
    diagnostics.add("E0101", "the file ends in the middle of a statement", place, _expected(unexpected))


def _expected(unexpected: Unexpected) -> str:
    """`expected a node's name or a number`, from what the parser would have taken."""
    accepts = unexpected.accepts
    before = unexpected.before.type if unexpected.before is not None else ""
    if "NAME" in accepts and before in _NAMED:
        return f"expected {_NAMED[before]}"
    if before == "COLON" and unexpected.first is not None and accepts >= {"NAME", "STRING", *_WORDS}:
        return "expected an interface's name"
    if before == "COLON" and accepts == {"NAME"}:
        return "expected a template's name"
    if before == "TOUCHING_LSQB":
        return "expected a number, a text or `*`"
    if accepts >= _WORDS and "MAC" not in accepts:
        return "expected a statement" + (", a property, or `}`" if unexpected.in_block else "")
    if "MAC" in accepts:
        return "expected a value" + (", or the end of the statement" if accepts & {"_SEP", "$END"} else "")
    words = [text for text, terminals in _READABLE if terminals & accepts]
    if "$END" in accepts and "the end of the statement" not in words:
        words.append("the end of the statement")
    if not words:
        return ""
    return f"expected {either(words)}"


def _range(source: Source, token: Token) -> Range:
    return Range(source.path, token.line, token.column, token.end_line, token.end_column)
