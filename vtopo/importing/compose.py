"""A Docker Compose file as a lab: services are containers, networks are bridges with links to them.

The format: the Compose Specification, https://github.com/compose-spec/compose-spec
"""

from __future__ import annotations

import posixpath

from vtopo.importing.compose_limits import Service
from vtopo.importing.compose_networks import Networks
from vtopo.importing.compose_service import ServiceText
from vtopo.importing.container import Conversion
from vtopo.importing.flow import flow
from vtopo.importing.names import LONGEST_NODE, Names, made_name
from vtopo.importing.quantities import whole
from vtopo.importing.result import Imported, finished, remarked
from vtopo.importing.variables import Variables
from vtopo.importing.writing import Block
from vtopo.importing.yaml_text import CODE, Field, Fields, Node, Remarks, Scalar, read_yaml
from vtopo.lang.diagnostics import Diagnostics
from vtopo.lang.source import Source

MOST_REPLICAS = 1000


def import_compose(source: Source, diagnostics: Diagnostics, folder: str = ".") -> Imported | None:
    """The lab that a Compose file says; None after an error was added.

    `folder` is where the file's relative paths begin, as seen from the lab's file.
    """
    document = read_yaml(source, diagnostics)
    if document is None:
        return None
    root = document.root
    services = root.get("services") if isinstance(root, Fields) else None
    if not isinstance(root, Fields) or not isinstance(services, Fields):
        place = services.range if services is not None else root.range
        diagnostics.add(CODE, "this is no Compose file", place, "a map of `services` is expected")
        return None
    for entry in services.fields:
        if not isinstance(entry.value, Fields):
            diagnostics.add(CODE, f"the service `{entry.name}` is no map", entry.key.range, "what is it?")
            return None
    return _Lab(source, root, services, Remarks(document), folder).written()


class _Lab:
    """Writes the lab in the order in which it is read: what it is, its networks, its containers, its links."""

    def __init__(self, source: Source, root: Fields, services: Fields, remarks: Remarks, folder: str) -> None:
        self._source, self._root = source, root
        names = Names()
        self._conversion = Conversion(names, Variables(names, compose=True), remarks, folder, decimal=False)
        self._services: dict[str, Service] = {}
        for entry in services.fields:
            assert isinstance(entry.value, Fields)
            count = _replicas(entry.value)
            name = names.take(entry.name, "service", LONGEST_NODE, count)
            self._services[entry.name] = Service(entry, name, count)
        self._networks = Networks(self._conversion, _fields(root.get("networks")), self._services)

    def written(self) -> Imported:
        remarks = self._conversion.remarks
        top, rest = Block(), Block()
        first = self._root.fields[0].key.range.line
        for text in remarks.between(1, first - 1):
            top.note(text)
        top.gap()
        self._lab(top)
        containers, links = Block(), Block()
        for service in self._services.values():
            containers.gap()
            written = ServiceText(self._conversion, service, self._services, self._root, self._networks)
            written.write(containers, links)
        for entry in self._root.fields:
            if entry.name not in ("name", "services", "networks"):
                with remarked(rest, remarks, entry.key, entry.value):
                    self._top_level(entry, rest)
            elif entry.name != "name":
                for remark in remarks.above(entry.key.range.line):
                    rest.note(remark)
        bridges = Block()
        self._networks.write(bridges)
        if not isinstance(self._root.get("networks") or self._root, Fields):
            self._left(rest, "networks", self._root.get("networks") or self._root)
        self._conversion.variables.write(top)
        parts = [top, rest, bridges, containers, links]
        return finished(self._source, parts, remarks, self._conversion.left)

    def _lab(self, block: Block) -> None:
        block.note("Written by `vtopo import compose`. What vtopo has no word for stands in comments.")
        block.note(
            "Compose's networks lead out; a lab's do not: a container with `network bridge` has Docker's for that."
        )
        name = self._root.get("name")
        folder = posixpath.basename(posixpath.dirname(posixpath.abspath(self._source.path)))
        text = self._conversion.variables.known(name.text) if isinstance(name, Scalar) else folder
        made = made_name(text or folder, 63, "lab")
        if isinstance(name, Scalar) and name.text != made:
            block.note(f"name: {name.text}")
        elif name is not None and not isinstance(name, Scalar):
            self._left(block, "name", name)
        block.say(f"lab {made}")

    def _top_level(self, entry: Field, block: Block) -> None:
        """What stands beside services and networks; of what services use, only what they do not have."""
        if entry.name not in ("secrets", "configs", "volumes") or not isinstance(entry.value, Fields):
            self._left(block, entry.name, entry.value)
            return
        for each in entry.value.fields:
            used = (entry.name, each.name) in self._conversion.files or (
                entry.name == "volumes" and each.name in self._conversion.volumes
            )
            if not used:
                self._left(block, f"{entry.name} {each.name}", each.value)
                continue
            for field in each.value.fields if isinstance(each.value, Fields) else ():
                if field.name != "file":
                    self._left(block, f"{entry.name} {each.name} {field.name}", field.value)

    def _left(self, block: Block, name: str, node: Node) -> None:
        self._conversion.left += 1
        block.note(f"{name}: {flow(node)}".rstrip())


def _replicas(service: Fields) -> int:
    """How many containers a service is; one where that is not to be understood."""
    deploy = service.get("deploy")
    counts = [service.get("scale"), deploy.get("replicas") if isinstance(deploy, Fields) else None]
    for node in counts:
        count = whole(node.text) if isinstance(node, Scalar) else None
        if count is not None and 1 <= count <= MOST_REPLICAS:
            return count
    return 1


def _fields(node: Node | None) -> Fields | None:
    return node if isinstance(node, Fields) else None
