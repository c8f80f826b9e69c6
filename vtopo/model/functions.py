"""The functions of the language, from literals to a literal, or to a text that says why not."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping, Sequence

from vtopo.addresses import read_interface
from vtopo.lang import ast
from vtopo.lang.ast import BIGGEST
from vtopo.lang.source import Range

Function = Callable[[Sequence[ast.Value], Range], "ast.Value | str"]

__all__ = ["BIGGEST", "FUNCTIONS", "address_literal"]


def address_literal(text: str, place: Range) -> ast.Address:
    """The literal of an address or prefix; ValueError if `text` is none."""
    return ast.Address(text, read_interface(text), place)


def _network(value: ast.Value) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    if isinstance(value, ast.Address) and value.value is not None and value.has_length:
        network = value.value.network
        return network if network.network_address == value.value.ip else None
    return None


def _subnet(arguments: Sequence[ast.Value], place: Range) -> ast.Value | str:
    """`subnet(10.0.0.0/8, 24, 3)`: the n-th subnet of a length."""
    network = _network(arguments[0]) if len(arguments) == 3 else None
    length, number = arguments[1:] if network is not None else (None, None)
    if network is None or not isinstance(length, ast.Integer) or not isinstance(number, ast.Integer):
        return "it takes a prefix, a length and a number, such as subnet(10.0.0.0/8, 24, 3)"
    if not network.prefixlen <= length.value <= network.max_prefixlen:
        return f"a subnet of {network} has a length from {network.prefixlen} to {network.max_prefixlen}"
    count = 1 << (length.value - network.prefixlen)
    if not 0 <= number.value < count:
        return f"{network} has {count} subnets of /{length.value}, numbered from 0"
    first = network.network_address + (number.value << (network.max_prefixlen - length.value))
    return address_literal(f"{first}/{length.value}", place)


def _address(arguments: Sequence[ast.Value], place: Range) -> ast.Value | str:
    """`address(10.0.0.0/24, 5)`: the n-th address, with its length; -1 is the last usable one."""
    network = _network(arguments[0]) if len(arguments) == 2 else None
    number = arguments[1] if network is not None else None
    if network is None or not isinstance(number, ast.Integer):
        return "it takes a prefix and a number, such as address(10.0.0.0/24, 5)"
    offset = number.value
    if offset < 0:
        has_broadcast = network.version == 4 and network.num_addresses > 2
        offset += network.num_addresses - has_broadcast
    if not 0 <= offset < network.num_addresses:
        return f"{network} has {network.num_addresses} addresses"
    return address_literal(f"{network.network_address + offset}/{network.prefixlen}", place)


def _len(arguments: Sequence[ast.Value], place: Range) -> ast.Value | str:
    match arguments:
        case [ast.ListValue(items=items)]:
            return ast.Integer(len(items), place)
        case [ast.String(text=text)]:
            return ast.Integer(len(text), place)
        case [ast.Interval(first=ast.Integer(value=first), last=ast.Integer(value=last))]:
            return ast.Integer(max(0, last - first + 1), place)
    return "it takes one list, range or string"


def _extreme(choose: Callable[[list[int]], int]) -> Function:
    def function(arguments: Sequence[ast.Value], place: Range) -> ast.Value | str:
        if len(arguments) == 1 and isinstance(arguments[0], ast.ListValue):
            items: Sequence[ast.Expression] = arguments[0].items
        else:
            items = arguments
        numbers = [item.value for item in items if isinstance(item, ast.Integer)]
        if not numbers or len(numbers) < len(items):
            return "it takes whole numbers, or a list of them"
        return ast.Integer(choose(numbers), place)

    return function


FUNCTIONS: Mapping[str, Function] = {
    "subnet": _subnet,
    "address": _address,
    "len": _len,
    "min": _extreme(min),
    "max": _extreme(max),
}
"""Every function by its name."""
