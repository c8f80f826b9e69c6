"""What an editor shows of the word under the pointer, as Markdown: its meaning, its type, what it compiled to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vtopo.editor import words
from vtopo.editor.chunks import Chunk
from vtopo.editor.compiled import Compiled, Node, Port, nodes_of
from vtopo.editor.context import Context, context
from vtopo.editor.facts import Role
from vtopo.editor.index import Index, Symbol
from vtopo.editor.text import Text
from vtopo.lang.diagnostics import Diagnostic
from vtopo.lang.explain.pages import page
from vtopo.lang.format_tree import lex
from vtopo.lang.tokens import Token
from vtopo.model.schema import Property
from vtopo.model.schema.reference import takes
from vtopo.values import dataclass

MOST_NODES = 8
"""Nodes that are shown of those that one name stands for."""
MOST_LINES = 12
"""Lines of a declaration that are shown."""


@dataclass(frozen=True, slots=True)
class Hover:
    """Markdown, and the offsets of what it is about."""

    markdown: str
    start: int
    end: int


def hover(text: Text, offset: int, index: Index, lab: Compiled, found: Sequence[Diagnostic]) -> Hover | None:
    """What there is to say at an offset; `found` are the diagnostics of the text."""
    line, column = text.place(offset)
    number = index.chunk_at(line)
    chunk = index.chunks[number] if number is not None else None
    token = _token(chunk, offset) if chunk is not None else None
    start, end = (offset, offset)
    if token is not None and chunk is not None:
        start = chunk.start + (token.start_pos)
        end = start + len(token)
    sections = list(_of_diagnostics(text, offset, found))
    name = index.at(line, column)
    if name is not None:
        sections += _of_symbol(name.symbol, index, text, lab)
        start = text.offset(name.range.line, name.range.column)
        end = text.offset(name.range.end_line, name.range.end_column)
    elif token is not None:
        at = context(chunk, text.text, start)
        sections += _of_word(str(token), at, text.text[end : end + 1])
    return Hover("\n\n---\n\n".join(sections), start, end) if sections else None


def _token(chunk: Chunk, offset: int) -> Token | None:
    """The token that an offset is in, or just behind."""
    near: Token | None = None
    for token in lex(chunk.text).tokens:
        start = chunk.start + (token.start_pos)
        if start > offset:
            break
        if token.type != "_SEP" and offset <= start + len(token):
            near = token if near is None or offset < start + len(token) or token[0].isalnum() else near
    return near


def _of_diagnostics(text: Text, offset: int, found: Sequence[Diagnostic]) -> Iterator[str]:
    said: set[str] = set()
    for each in found:
        place = each.range
        start, end = text.offset(place.line, place.column), text.offset(place.end_line, place.end_column)
        if start <= offset <= end and each.code not in said:
            said.add(each.code)
            about = page(each.code)
            yield f"**{about.code}: {about.title}**\n\n{about.before}"


def _of_word(word: str, at: Context, after: str) -> Iterator[str]:
    if not at.words and word in at.known:
        yield _property(at.known[word], at.block[0] if at.block else "")
    elif not at.words and word in words.STATEMENTS:
        yield _meaning(words.STATEMENTS[word])
    elif after == "(" and word in words.FUNCTIONS:
        yield _meaning(words.FUNCTIONS[word])
    elif at.words and at.words[0] in at.known:
        yield _property(at.known[at.words[0]], at.block[0] if at.block else "")
    elif at.words and word in words.ELSEWHERE:
        yield _meaning(words.ELSEWHERE[word])
    elif at.words and at.words[0] in words.STATEMENTS and word.isalpha():
        yield _meaning(words.STATEMENTS[at.words[0]])


def _meaning(meaning: words.Meaning) -> str:
    return f"```vlab\n{meaning.form}\n```\n{meaning.doc}"


def _property(prop: Property, block: str) -> str:
    of = f" of {_article(block)}" if block else ""
    lines = [f"**{prop.name}**{of}: {prop.doc}", ""]
    lines += [f"- takes {takes(prop)}"]
    lines += [f"- default: {prop.default}"] if prop.default else []
    lines += ["- must be given"] if prop.required else []
    lines += ["- may stand several times"] if prop.many else []
    if prop.block:
        lines.append(f"- in its block: {', '.join(f'`{each.name}`' for each in prop.block)}")
    return "\n".join(lines)


def _article(word: str) -> str:
    return f"an {word}" if word[0] in "aeio" else f"a {word}"


def _of_symbol(symbol: Symbol, index: Index, text: Text, lab: Compiled) -> Iterator[str]:
    declared = index.declarations(symbol)
    if symbol.role is Role.INTERFACE:
        yield f"**{'.'.join(symbol.owner)}:{symbol.name}**, an interface"
        yield from _ports(_owner(symbol, index, lab), symbol.name)
        return
    for one in declared[:1]:
        if one.whole is not None:
            start = text.offset(one.whole.line, one.whole.column)
            end = text.offset(one.whole.end_line, one.whole.end_column)
            yield _source(text.text[start:end])
    if symbol.role is Role.OVERLAY and symbol.name in lab.overlays:
        yield lab.overlays[symbol.name]
    if symbol.role is Role.NODE:
        yield from _nodes(nodes_of(symbol, index, lab))


def _owner(symbol: Symbol, index: Index, lab: Compiled) -> list[Node]:
    return (
        nodes_of(Symbol(Role.NODE, symbol.owner[:-1], symbol.owner[-1]), index, lab) if symbol.owner else []
    )


def _source(code: str) -> str:
    lines = code.rstrip().split("\n")
    if len(lines) > MOST_LINES:
        lines = [*lines[: MOST_LINES - 1], "  …"]
    return "```vlab\n" + "\n".join(lines) + "\n```"


def _nodes(nodes: Sequence[Node]) -> Iterator[str]:
    if not nodes:
        return
    lines: list[str] = []
    for node in nodes[:MOST_NODES]:
        lines.append(f"{node.kind} {node.name}")
        lines += [
            f"  {port.name:<8} {' '.join(port.addresses) or 'no address'} -- {port.peer}, mtu {port.mtu}"
            for port in node.ports[:MOST_NODES]
        ]
        if len(node.ports) > MOST_NODES:
            lines.append(f"  and {len(node.ports) - MOST_NODES} more interfaces")
    if len(nodes) > MOST_NODES:
        lines.append(f"and {len(nodes) - MOST_NODES} more nodes")
    yield "```text\n" + "\n".join(lines) + "\n```"


def _ports(nodes: Sequence[Node], name: str) -> Iterator[str]:
    lines = [_port(node, port) for node in nodes for port in node.ports if port.name == name]
    if lines:
        more = [f"and {len(lines) - MOST_NODES} more"] if len(lines) > MOST_NODES else []
        yield "```text\n" + "\n".join([*lines[:MOST_NODES], *more]) + "\n```"


def _port(node: Node, port: Port) -> str:
    addresses = " ".join(port.addresses) or "no address"
    return f"{node.name}:{port.name}  {addresses}  {port.mac}  mtu {port.mtu}  -- {port.peer}"
