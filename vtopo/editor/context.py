"""Where a place in a text stands: in which blocks, after which words of a statement. Broken text is no hindrance."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from vtopo.editor import properties
from vtopo.editor.chunks import Chunk
from vtopo.editor.facts import Owner
from vtopo.editor.properties import TRANSPARENT, Known
from vtopo.lang.format_tree import lex
from vtopo.lang.tokens import Token
from vtopo.model.schema import KIND_PLACES
from vtopo.values import dataclass

_OPEN_STRINGS = frozenset({"OPEN_STRING", "OPEN_LONG_STRING"})


@dataclass(frozen=True, slots=True)
class Context:
    """A place: `headers` are the statements whose blocks are open there, the outermost first, each as its words up to
    the brace; `words` those of its own statement before it; `prefix` the part of a word that stands just before it.

    `variables` are those of the open blocks, with `for`'s. `in_text`: in a comment, or a string but not in its `${…}`.
    """

    headers: tuple[tuple[str, ...], ...]
    words: tuple[str, ...]
    prefix: str
    variables: tuple[str, ...]
    in_text: bool = False

    @property
    def inside(self) -> Owner:
        """Whose block it is."""
        owner: Owner = ()
        for header in self.headers:
            if header[0] in KIND_PLACES and len(header) > 1:
                owner = (*owner, header[1])
            elif header[0] in {"template", "default"} and len(header) > 1:
                owner = (f"{header[0]} {header[1]}",)
        return owner

    @property
    def known(self) -> Known:
        """The properties that can stand in the innermost block."""
        return properties.known(self.headers)

    @property
    def block(self) -> tuple[str, ...]:
        """The statement whose block it is, but for those that hold what the block around them holds."""
        return next((h for h in reversed(self.headers) if h[0] not in TRANSPARENT), ())


def context(chunk: Chunk | None, text: str, offset: int) -> Context:
    """The context of an offset of a text, which is in `chunk`, or in none."""
    before = (
        text[chunk.start : offset] if chunk is not None else text[text.rfind("\n", 0, offset) + 1 : offset]
    )
    scan = _Scan()
    tokens = lex(before).tokens
    end = 0
    for token in tokens:
        scan.add(token)
        end = (token.start_pos) + len(token) if token.type != "_SEP" else end
    if "#" in before[end:].rpartition("\n")[2]:
        return scan.context("", in_text=True)
    last = tokens[-1] if tokens else None
    if last is not None and last.type in _OPEN_STRINGS:
        inner = last.rpartition("${")[2]
        if "${" in last and "}" not in inner:
            scan.drop()
            return scan.context(_trailing_word(inner), (*scan.words, '"${'))
        return scan.context("", in_text=True)
    if last is not None and scan.words and end == len(before) and (last[-1].isalnum() or last[-1] in "_-"):
        scan.drop()
        return scan.context(str(last))
    return scan.context("")


class _Scan:
    """Reads tokens, and keeps the statements whose blocks are open."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self._open: list[list[str]] = []
        self._variables: list[list[str]] = [[]]

    def add(self, token: Token) -> None:
        """The next token."""
        text = str(token)
        if token.type == "_SEP":
            self.words = []
        elif text == "{":
            self._open.append(self.words)
            self._variables.append(_turns(self.words))
            self.words = []
        elif text == "}" and self._open:
            self.words = [*self._open.pop(), "}"]
            self._variables.pop()
        else:
            self.words.append(text)
            if len(self.words) == 2 and self.words[0] == "let":
                self._variables[-1].append(text)

    def drop(self) -> None:
        """Take the last word back: it is not finished."""
        self.words.pop()

    def context(self, prefix: str, words: Sequence[str] | None = None, *, in_text: bool = False) -> Context:
        """What was read so far as a context."""
        headers = tuple(tuple(words) for words in self._open if words)
        variables = tuple(name for names in self._variables for name in names)
        return Context(headers, tuple(self.words if words is None else words), prefix, variables, in_text)


def _turns(header: Sequence[str]) -> list[str]:
    """The variables of a `for`."""
    if header[:1] != ["for"]:
        return []
    return [name for name, word in itertools.pairwise(header) if word == "in"]


def _trailing_word(text: str) -> str:
    word = ""
    for letter in reversed(text):
        if not (letter.isalnum() or letter == "_"):
            break
        word = letter + word
    return word
