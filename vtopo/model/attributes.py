"""What a lab's nodes and interfaces say of themselves once addresses are handed out: `h1.eth0.address`."""

from __future__ import annotations

from collections.abc import Sequence

from vtopo.lang import ast
from vtopo.lang.ast import IPInterface
from vtopo.lang.source import Range
from vtopo.lang.suggest import did_you_mean
from vtopo.model.draft import Draft, EndDraft, NodeDraft
from vtopo.model.expressions import Evaluator, Unknown
from vtopo.model.functions import address_literal
from vtopo.model.names import Scope, unroll

INTERFACE = ("address", "address6", "prefix", "prefix6", "length", "length6", "mac", "peer", "name")
NODE = ("name", "address", "address6", "data")
BRIDGE = ("subnet", "subnet6", "address", "address6", "name")


MOST_SHOWN = 12
"""Names of a module's nodes that a message lists."""


class Attributes:
    """The attributes of one lab's nodes, once the passes over names, links and addresses are done."""

    def __init__(self, draft: Draft, scope: Scope, evaluator: Evaluator) -> None:
        self._draft = draft
        self._scope = scope
        self._evaluator = evaluator

    def value(self, reference: ast.Reference, inside: NodeDraft | None) -> ast.Value:
        """The value of a dotted reference as seen from the block of `inside`; Unknown after an error."""
        parts = _names(reference)
        for count in range(len(parts), 0, -1):
            node = self._scope.single(parts[:count], inside)
            if node is not None:
                return self._of_node(node, parts[count:], reference.range)
        self._scope.find(ast.Reference(reference.parts[:1], reference.range), inside)
        raise Unknown

    def _of_node(self, node: NodeDraft, path: Sequence[str], place: Range) -> ast.Value:
        if not path:
            return ast.String((node.name,), place)
        end = next((end for end in node.ends if end.name == path[0]), None)
        if end is not None:
            return self._of_end(end, path[1:], place)
        match path:
            case ["name"]:
                return ast.String((node.name,), place)
            case ["data", key]:
                return self._data(node, key, place)
            case [("subnet" | "subnet6") as word] if node.is_bridge:
                found = [n for n in node.subnets if n.version == (6 if word.endswith("6") else 4)]
                return self._first([str(n) for n in found], node.name, word, place)
            case [("address" | "address6") as word]:
                own = [s.value for s in node.settings.interfaces("address")] if node.is_bridge else []
                return self._address(
                    own or [a for e in node.ends for a in e.addresses], node.name, word, place
                )
        if node.is_module:
            inner = [
                n.removeprefix(f"{node.name}.") for n, d in self._draft.nodes.items() if d.parent is node
            ]
            raise self._evaluator.fail(
                "E0302",
                f"the module `{node.name}` has no node `{path[0]}`",
                place,
                help=did_you_mean(path[0], inner, f"it has {', '.join(inner[:MOST_SHOWN])}"),
            )
        if len(path) > 1 and path[0] in NODE + BRIDGE and path[0] != "data":
            raise self._evaluator.fail(
                "E0303", f"`{node.name}.{path[0]}` is a value and has no `{path[1]}`", place
            )
        known = [*(BRIDGE if node.is_bridge else NODE), *(e.name for e in node.ends)]
        raise self._evaluator.fail(
            "E0303",
            f"`{node.name}` has no `{path[0]}`",
            place,
            "neither an interface nor an attribute",
            help=did_you_mean(path[0], known, f"it has {', '.join(known)}"),
        )

    def _of_end(self, end: EndDraft, path: Sequence[str], place: Range) -> ast.Value:
        match path:
            case ["address" | "address6"]:
                return self._address(end.addresses, end.full_name, path[0], place)
            case ["prefix" | "prefix6"]:
                found = [str(a.network) for a in _of(end.addresses, path[0])]
                return self._first(found, end.full_name, path[0], place)
            case ["length" | "length6"]:
                lengths = [a.network.prefixlen for a in _of(end.addresses, path[0])]
                if lengths:
                    return ast.Integer(lengths[0], place)
                return self._first([], end.full_name, path[0], place)
            case ["mac"]:
                return ast.Mac(end.mac(self._draft.name), place)
            case ["name"]:
                return ast.String((end.name,), place)
            case ["peer"]:
                return ast.String((self._peer(end, place).node.name,), place)
            case ["peer", *rest]:
                peer = self._peer(end, place)
                return (
                    self._of_end(peer, rest, place)
                    if rest[0] in INTERFACE
                    else self._of_node(peer.node, rest, place)
                )
        word = path[0] if path else ""
        if len(path) > 1 and word in INTERFACE:
            raise self._evaluator.fail(
                "E0303", f"the `{word}` of `{end.full_name}` is a value and has no `{path[1]}`", place
            )
        raise self._evaluator.fail(
            "E0303",
            f"`{end.full_name}` has no `{word}`"
            if word
            else f"`{end.full_name}` is an interface, not a value",
            place,
            help=did_you_mean(word, INTERFACE, f"it has {', '.join(INTERFACE)}"),
        )

    def _peer(self, end: EndDraft, place: Range) -> EndDraft:
        if end.peer is None:
            raise self._evaluator.fail(
                "E0303", f"`{end.full_name}` is not the end of a link", place, "no peer"
            )
        return end.peer

    def _data(self, node: NodeDraft, key: str, place: Range) -> ast.Value:
        for setting in node.settings.many("data"):
            if setting.slots.get("key") == key:
                value = setting.slots["value"]
                assert isinstance(
                    value,
                    ast.Integer
                    | ast.Decimal
                    | ast.Quantity
                    | ast.Address
                    | ast.Mac
                    | ast.String
                    | ast.Switch
                    | ast.ListValue
                    | ast.Interval,
                )
                return value
        have = [str(s.slots["key"]) for s in node.settings.many("data")]
        raise self._evaluator.fail(
            "E0303", f"`{node.name}` has no `data {key}`", place, help=did_you_mean(key, have)
        )

    def _address(self, addresses: Sequence[IPInterface], owner: str, word: str, place: Range) -> ast.Value:
        return self._first([str(a.ip) for a in _of(addresses, word)], owner, word, place)

    def _first(self, texts: Sequence[str], owner: str, word: str, place: Range) -> ast.Value:
        if texts:
            return address_literal(texts[0], place)
        version = 6 if word.endswith("6") else 4
        raise self._evaluator.fail("E0407", f"`{owner}` has no IPv{version} {word.rstrip('6')}", place)


def _of(addresses: Sequence[IPInterface], word: str) -> list[IPInterface]:
    return [a for a in addresses if a.version == (6 if word.endswith("6") else 4)]


def _names(reference: ast.Reference) -> list[str]:
    """The path of a reference with its indices worked into the names; one that means several has no attribute."""
    found: list[str] = []
    for part in reference.parts:
        whole = any(index.items is None for index in part.indices)
        found.append(
            part.name.text if whole or not part.indices else next(iter(unroll(part)), part.name.text)
        )
    return found
