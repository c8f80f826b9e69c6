"""A containerlab topology as a lab: nodes are containers and bridges; defaults, kinds and groups are templates.

The format: https://containerlab.dev/manual/topo-def-file/
"""

from __future__ import annotations

from vtopo.importing.container import Conversion
from vtopo.importing.containerlab_links import Links
from vtopo.importing.containerlab_node import NodeText
from vtopo.importing.containerlab_nodes import Clab, Topology
from vtopo.importing.flow import flow
from vtopo.importing.names import Names, made_name
from vtopo.importing.result import Imported, finished, remarked
from vtopo.importing.variables import Variables
from vtopo.importing.writing import Block
from vtopo.importing.yaml_text import CODE, Field, Fields, Items, Remarks, Scalar, read_yaml
from vtopo.lang.diagnostics import Diagnostics
from vtopo.lang.labname import from_path
from vtopo.lang.source import Source

LINK_MTU = 9500
"""What containerlab gives to links that say no other (manual, "Network wiring concepts")."""


def import_containerlab(source: Source, diagnostics: Diagnostics, folder: str = ".") -> Imported | None:
    """The lab that a topology file says; None after an error was added.

    `folder` is where the file's relative paths begin, as seen from the lab's file.
    """
    document = read_yaml(source, diagnostics)
    if document is None:
        return None
    root = document.root
    topology = root.get("topology") if isinstance(root, Fields) else None
    nodes = topology.get("nodes") if isinstance(topology, Fields) else None
    if not isinstance(root, Fields) or not isinstance(topology, Fields) or not isinstance(nodes, Fields):
        place = next((n.range for n in (nodes, topology) if n is not None), root.range)
        diagnostics.add(
            CODE, "this is no containerlab topology", place, "`topology` with a map of `nodes` is expected"
        )
        return None
    for entry in nodes.fields:
        if not isinstance(entry.value, Fields) and not (
            isinstance(entry.value, Scalar) and entry.value.empty
        ):
            diagnostics.add(CODE, f"the node `{entry.name}` is no map", entry.key.range, "what is it?")
            return None
    return _Lab(source, root, topology, Remarks(document), folder).written()


class _Lab:
    """Writes the lab: what it is, what nodes share, the nodes, the links."""

    def __init__(self, source: Source, root: Fields, topology: Fields, remarks: Remarks, folder: str) -> None:
        self._source, self._root, self._fields = source, root, topology
        names = Names()
        self._conversion = Conversion(names, Variables(names, compose=False), remarks, folder, decimal=True)
        self._topology = Topology(topology, names)

    def written(self) -> Imported:
        remarks = self._conversion.remarks
        top, rest, shared, nodes, wires = Block(), Block(), Block(), Block(), Block()
        for text in remarks.between(1, self._root.fields[0].key.range.line - 1):
            top.note(text)
        top.gap()
        self._lab(top)
        given = self._fields.get("links")
        links = Links(self._conversion, self._topology, given.items if isinstance(given, Items) else ())
        for entry in self._root.fields:
            if entry.name not in ("name", "topology"):
                why = "eth0 of each container is on Docker's own bridge" if entry.name == "mgmt" else ""
                self._left(rest, entry, why)
        self._shared(shared)
        for node in self._topology.nodes.values():
            self._node(node, nodes, links)
        if isinstance(given, Items):
            for item in given.items:
                with remarked(wires, remarks, Scalar("", True, "", item.range), item):
                    links.write(item, wires)
        for entry in self._fields.fields:
            written = {"nodes": Fields, "links": Items, "kinds": Fields, "groups": Fields, "defaults": Fields}
            if not isinstance(entry.value, written.get(entry.name, ())):
                self._left(rest, entry)
        self._conversion.variables.write(top)
        return finished(self._source, [top, rest, shared, nodes, wires], remarks, self._conversion.left)

    def _lab(self, block: Block) -> None:
        name = self._root.get("name")
        text = self._conversion.variables.known(name.text) if isinstance(name, Scalar) else None
        made = made_name(text, 63, "lab") if text else from_path(self._source.path)
        field = next((f for f in self._root.fields if f.name == "name"), None)
        for remark in self._conversion.remarks.above(field.key.range.line) if field is not None else ():
            block.note(remark)
        if name is not None and not (isinstance(name, Scalar) and name.text == made):
            block.note(f"name: {flow(name)}")
        block.note("Written by `vtopo import containerlab`. What vtopo has no word for stands in comments.")
        block.note(f"{LINK_MTU} is the MTU of containerlab's links.")
        block.say(f"lab {made} {{ mtu {LINK_MTU} }}")

    def _shared(self, block: Block) -> None:
        """Docker's bridge for all, and the templates that nodes name."""
        if any(node.is_container for node in self._topology.nodes.values()):
            block.note("As containerlab runs them: eth0 on Docker's bridge, and all rights.")
            block.say("default container { network bridge; privileged on }")
        for section, name, entry in self._topology.templates():
            block.gap()
            if not self._topology.used(section, entry.name):
                self._left(block, entry, f"{section}: no node has it")
                continue
            text = NodeText(self._conversion, self._topology, name, entry, many=True)
            with remarked(block, self._conversion.remarks, entry.key, entry.value):
                if entry.name != name:
                    block.note(f"{section} {entry.name}: {name} here")
                text.read()
                block.nest(f"template {name}", text.block if text.block else _empty())

    def _node(self, node: Clab, block: Block, links: Links) -> None:
        remarks, entry = self._conversion.remarks, node.entry
        if not node.made:
            self._left(block, entry, node.why)
            return
        text = NodeText(self._conversion, self._topology, node.name, entry, node=node)
        with remarked(block, remarks, entry.key, entry.value):
            if entry.name != node.name:
                block.note(f"{entry.name}: {node.name} here")
            text.read()
            links.own(node, text.block)
            for remark in remarks.between(entry.key.range.line, entry.value.range.end_line):
                text.block.note(remark)
            shared = f" : {', '.join(node.templates)}" if node.templates else ""
            block.nest(f"{node.keyword} {node.name}{shared}", text.block)

    def _left(self, block: Block, entry: Field, why: str = "") -> None:
        """What has no place in the lab, as a comment."""
        with remarked(block, self._conversion.remarks, entry.key, entry.value):
            self._conversion.left += 1
            block.note(f"{entry.name}: {flow(entry.value)}".rstrip() + (f"  ({why})" if why else ""))


def _empty() -> Block:
    block = Block()
    block.note("nothing that vtopo has a word for")
    return block
