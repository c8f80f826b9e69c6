"""The words that begin statements, functions and expectations: their forms and meanings, for completion and hover."""

from __future__ import annotations

from collections.abc import Mapping

from vtopo.lang.expect import QUANTITIES, VERBS
from vtopo.values import dataclass


@dataclass(frozen=True, slots=True)
class Meaning:
    """How something is written, and what it does."""

    form: str
    doc: str


STATEMENTS: Mapping[str, Meaning] = {
    "lab": Meaning("lab NAME { … }", "Names the lab, and sets what holds for all of it."),
    "use": Meaning(
        'use "FILE" [as NAME] { PARAM = VALUE }',
        "Takes a file as a module, whose nodes are NAME.NODE; without a name, its templates and lets.",
    ),
    "host": Meaning(
        "host NAME [: TEMPLATE, …] [on MACHINE] { … }",
        "A light machine: its own namespaces and cgroup on the shared kernel.",
    ),
    "container": Meaning(
        "container NAME [: TEMPLATE, …] [on MACHINE] { … }", "An application from an image, run by Docker."
    ),
    "vm": Meaning(
        "vm NAME [: TEMPLATE, …] [on MACHINE] { … }",
        "A full machine with its own kernel, run by libvirt and QEMU.",
    ),
    "bridge": Meaning("bridge NAME { … }", "A learning switch."),
    "uplink": Meaning(
        "uplink NAME { … }", "The way out: NAT through the machine, or a real interface bridged in."
    ),
    "link": Meaning(
        "link A[:PORT] [ADDRESS …] -- B[:PORT] [ADDRESS …] { … }",
        "A line between two nodes. A range at one end fans out; ranges at both ends pair up.",
    ),
    "overlay": Meaning("overlay NAME { vni N; vtep … }", "A VXLAN segment across hosts (RFC 7348)."),
    "vtep": Meaning(
        "vtep HOST:INTERFACE -- BRIDGE",
        "A tunnel end: the interface that it sends from (as a string, the machine's own), and its bridge.",
    ),
    "pool": Meaning("pool NAME PREFIX split /LENGTH", "Addresses that links and bridges are numbered from."),
    "machine": Meaning("machine NAME { address …; ssh … }", "A machine that nodes can be placed on."),
    "expect": Meaning(
        "expect [not] A reaches B [on tcp N] [within TIME]",
        "What `vtopo test` tries on the running lab; also `A runs …`, `rate`, `delay`, `loss` and `path`.",
    ),
    "scenario": Meaning('scenario "NAME" { do …; expect … }', "Faults and expectations in turn."),
    "param": Meaning(
        "param NAME [= DEFAULT] [in VALUES]", "A value that a run may set: `vtopo up FILE --set NAME=VALUE`."
    ),
    "let": Meaning("let NAME = VALUE", "A name for a value."),
    "for": Meaning(
        "for NAME in VALUES, … { … }", "Its block once for each value; the last name turns fastest."
    ),
    "if": Meaning("if CONDITION { … } else { … }", "Its block where the condition is on."),
    "template": Meaning("template NAME [: TEMPLATE, …] { … }", "Properties and nodes that nodes may share."),
    "default": Meaning(
        "default KIND { … }", "Properties of all nodes of a kind, or of all links, of this file."
    ),
}
"""The words that begin a statement."""

FUNCTIONS: Mapping[str, Meaning] = {
    "subnet": Meaning("subnet(PREFIX, LENGTH, N)", "The N-th subnet of a length, from 0."),
    "address": Meaning("address(PREFIX, N)", "The N-th address of a prefix; -1 is the last usable one."),
    "len": Meaning("len(X)", "How many a list, a range or a string has."),
    "min": Meaning("min(A, B, …)", "The least of some numbers, or of a list of them."),
    "max": Meaning("max(A, B, …)", "The greatest of some numbers, or of a list of them."),
}
"""The functions of the language."""

ELSEWHERE: Mapping[str, Meaning] = {
    "as": Meaning('use "FILE" as NAME', "The name that a module's nodes are found by."),
    "on": Meaning("on", "A switch that is on; after a node, the machine that it runs on."),
    "off": Meaning("off", "A switch that is off."),
    "in": Meaning("NAME in VALUES", "The values of a `for` or a param."),
    "else": Meaning("else { … }", "What holds where the condition is off."),
    "not": Meaning("not X", "The opposite of a switch, or of an expectation."),
    "and": Meaning("A and B", "On where both are on."),
    "or": Meaning("A or B", "On where one is on."),
    "self": Meaning("self.name, self.index, self.index2", "The node whose block it is."),
    "none": Meaning("none", "No address at this end of a link."),
}
"""Words that stand inside of statements."""

BEGIN_CLAIMS = (*QUANTITIES, "path")
"""Words after `expect` that begin a claim which is not about one node."""
AFTER_SUBJECT = VERBS
AFTER_TARGET = ("on tcp", "within")
"""What can follow the target of `reaches`."""

IN_NODES = ("host", "container", "vm", "bridge", "link", "expect", "let", "for", "if")
"""Statements that can stand in a node's block, or a template's."""
IN_SMALL = ("let", "for", "if")
"""Statements that can stand in every block."""
