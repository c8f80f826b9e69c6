"""The language's words as editors' colour rules: a TextMate grammar, and a syntax file of Vim."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator

from vtopo.editor import words
from vtopo.lang.grammar import grammar_text
from vtopo.lang.syntax_errors import RESERVED
from vtopo.model.schema import KIND_PLACES, SCHEMA, Property
from vtopo.model.units import UNITS

_NAMES = ("lab", "overlay", "pool", "machine", "template", "param", "let", *KIND_PLACES)
"""Statements whose second word is a name."""
_SWITCHES = ("on", "off", "true", "false")
_OPERATORS = ("and", "or", "not", "in", "as")
_SPECIAL = ("self", "none")
_EXPECT = ("reaches", "runs", "prints", "within", "through", "tcp", "split")
_START = r"(?:^|(?<=[{;}]))[ \t]*"
_END = r"(?![\w-])"

TERMINALS = ("IPV6", "MAC", "IPV4")
"""Literals whose patterns are the grammar's own."""


def _terminal(name: str) -> str:
    """The pattern of a terminal of the grammar."""
    match = re.search(rf"^{name}(?:\.\d+)?: /(.*)/$", grammar_text(), re.MULTILINE)
    assert match is not None, name
    return match[1]


def property_names() -> list[str]:
    """Every property of every block, within others too."""
    return sorted({name for known in SCHEMA.values() for each in known.values() for name in _names(each)})


def _names(prop: Property) -> Iterator[str]:
    yield prop.name
    for inner in prop.block:
        yield from _names(inner)


def statement_words() -> list[str]:
    """The words that begin a statement and are no kind of node."""
    return [word for word in (*words.STATEMENTS, "else") if word not in KIND_PLACES]


def property_words() -> list[str]:
    """The words that properties give a meaning, but for those that are words of the language too."""
    found = {word for known in SCHEMA.values() for each in known.values() for word in each.words}
    return sorted(word for word in found if re.fullmatch(r"[\w-]+", word) and word not in RESERVED)


def _any(group: Iterable[str]) -> str:
    """A pattern for any of some words, longer ones first."""
    return "|".join(re.escape(word) for word in sorted(group, key=lambda word: (-len(word), word)))


def textmate() -> str:
    """`vlab.tmLanguage.json`."""
    name = _terminal("NAME")
    units = _any(UNITS)
    value = ["comment", "strings", "literals", "words"]
    grammar = {
        "$schema": "https://raw.githubusercontent.com/martinring/tmlanguage/master/tmlanguage.json",
        "name": "vlab",
        "scopeName": "source.vlab",
        "fileTypes": ["vlab"],
        "patterns": [{"include": f"#{each}"} for each in ("comment", "statements", *value[1:])],
        "repository": {
            "comment": _match("comment.line.number-sign.vlab", "#.*$"),
            "statements": {
                "patterns": [
                    _match(_KEYWORD, r"(?<=\})[ \t]*else(?:[ \t]+if)?" + _END),
                    _captures(
                        f"{_START}(default)[ \\t]+({_any([*KIND_PLACES, 'link'])}){_END}", _KEYWORD, _KIND
                    ),
                    _captures(
                        f"{_START}({_any(KIND_PLACES)})[ \\t]+({name})", _KIND, "entity.name.type.vlab"
                    ),
                    _captures(
                        f"{_START}({_any(set(_NAMES) - set(KIND_PLACES))})[ \\t]+({name})",
                        _KEYWORD,
                        "entity.name.vlab",
                    ),
                    _captures(f"{_START}({_any(KIND_PLACES)}){_END}", _KIND),
                    _captures(f"{_START}({_any(statement_words())}){_END}", _KEYWORD),
                    _captures(f"{_START}({_any(property_names())}){_END}", "support.type.property-name.vlab"),
                ]
            },
            "strings": {
                "patterns": [
                    _string("string.quoted.triple.vlab", '"""', '"""'),
                    _string("string.quoted.double.vlab", '"', '"|$'),
                ]
            },
            "in-strings": {
                "patterns": [
                    _match("constant.character.escape.vlab", r'\\["\\nt$]'),
                    {
                        "name": "meta.embedded.expression.vlab",
                        "begin": r"\$\{",
                        "end": r"\}|(?=\")|$",
                        "beginCaptures": {"0": {"name": "punctuation.section.embedded.begin.vlab"}},
                        "endCaptures": {"0": {"name": "punctuation.section.embedded.end.vlab"}},
                        "patterns": [{"include": "#literals"}, {"include": "#words"}],
                    },
                ]
            },
            "literals": {
                "patterns": [
                    *(_match(f"constant.numeric.{each.lower()}.vlab", _terminal(each)) for each in TERMINALS),
                    _captures(
                        rf"(?<![\w.-])([0-9]+(?:\.[0-9]+)?)({units})(?![\w/])",
                        "constant.numeric.vlab",
                        "keyword.other.unit.vlab",
                    ),
                    _match("constant.numeric.vlab", r"(?<![\w-])[0-9]+(?:\.[0-9]+)?(?!\w)"),
                ]
            },
            "words": {
                "patterns": [
                    _match("constant.language.vlab", rf"(?<![\w.-])(?:{_any(_SWITCHES)}){_END}"),
                    _match(
                        "keyword.operator.word.vlab", rf"(?<![\w.-])(?:{_any((*_OPERATORS, *_EXPECT))}){_END}"
                    ),
                    _match("variable.language.vlab", rf"(?<![\w.-])(?:{_any(_SPECIAL)}){_END}"),
                    _match("support.function.vlab", rf"(?<![\w.-])(?:{_any(words.FUNCTIONS)})(?=\()"),
                    _match(
                        "support.constant.vlab", rf"(?<![\w.-])(?:{_any(property_words())}){_END}(?![.:\[])"
                    ),
                    _match("keyword.operator.vlab", r"--|->|<-|\.\.|[=!<>]=|[<>=+*/%?]"),
                ]
            },
        },
    }
    return json.dumps(grammar, indent=2) + "\n"


_KEYWORD = "keyword.control.vlab"
_KIND = "storage.type.vlab"


def _match(scope: str, pattern: str) -> dict[str, object]:
    return {"name": scope, "match": pattern}


def _captures(pattern: str, *scopes: str) -> dict[str, object]:
    captures = {str(number): {"name": scope} for number, scope in enumerate(scopes, 1)}
    return {"match": pattern, "captures": captures}


def _string(scope: str, begin: str, end: str) -> dict[str, object]:
    return {"name": scope, "begin": begin, "end": end, "patterns": [{"include": "#in-strings"}]}


def vim() -> str:
    """`syntax/vlab.vim`."""

    def match(group: str, pattern: str) -> str:
        return f"syntax match {group} /{pattern}/"

    def any_of(group: Iterable[str]) -> str:
        return r"\|".join(sorted(group, key=lambda word: (-len(word), word))).replace("/", r"\/")

    start = r"\%(^\|[{;}]\)\@<=\s*\zs"
    end = r"\%([0-9A-Za-z_-]\)\@!"
    return "\n".join(
        [
            '" The vlab language. Written from its grammar and its schema by `make golden`.',
            'if exists("b:current_syntax")',
            "  finish",
            "endif",
            "",
            match("vlabProperty", rf"{start}\%({any_of(property_names())}\){end}"),
            match("vlabStatement", rf"{start}\%({any_of(statement_words())}\){end}"),
            match("vlabStatement", rf"}}\s*\zselse\%(\s\+if\)\?{end}"),
            match("vlabKind", rf"{start}\%({any_of(KIND_PLACES)}\){end}"),
            match("vlabKind", rf"{start}default\s\+\zs\%({any_of([*KIND_PLACES, 'link'])}\){end}"),
            rf"syntax keyword vlabSwitch {' '.join(_SWITCHES)}",
            rf"syntax keyword vlabOperator {' '.join((*_OPERATORS, *_EXPECT))}",
            rf"syntax keyword vlabSpecial {' '.join(_SPECIAL)}",
            match("vlabFunction", rf"\<\%({any_of(words.FUNCTIONS)}\)(\@="),
            match("vlabNumber", rf"\%([0-9A-Za-z_.-]\)\@<!\d\+\%(\.\d\+\)\?\%({any_of(UNITS)}\)\?{end}"),
            match("vlabAddress", r"\<\d\+\%(\.\d\+\)\{3}\%(\/\d\+\)\?"),
            match("vlabAddress", r"\<\x*:[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*\%(\/\d\+\)\?"),
            match("vlabSign", r"--\|->\|<-\|\.\."),
            r'syntax match vlabEscape /\\["\\nt$]/ contained',
            r"syntax region vlabEmbedded matchgroup=vlabEscape start=/\${/ end=/}/ contained oneline"
            " contains=vlabNumber,vlabFunction,vlabOperator",
            r'syntax region vlabString start=/"/ skip=/\\./ end=/"/ oneline contains=vlabEscape,vlabEmbedded',
            r'syntax region vlabString start=/"""/ skip=/\\./ end=/"""/ contains=vlabEscape,vlabEmbedded',
            "syntax match vlabComment /#.*$/ contains=@Spell",
            "",
            *(f"highlight default link vlab{group} {to}" for group, to in _LINKS.items()),
            "",
            'let b:current_syntax = "vlab"',
            "",
        ]
    )


_LINKS = {
    "Property": "Identifier",
    "Statement": "Statement",
    "Kind": "Type",
    "Switch": "Boolean",
    "Operator": "Operator",
    "Special": "Special",
    "Function": "Function",
    "Number": "Number",
    "Address": "Constant",
    "Sign": "Operator",
    "Escape": "SpecialChar",
    "String": "String",
    "Comment": "Comment",
}
