"""One node of a containerlab topology, or what nodes of a kind or group share."""

from __future__ import annotations

from collections.abc import Callable

from vtopo.importing.container import ContainerText, Conversion, items_of
from vtopo.importing.containerlab_nodes import Clab, Topology
from vtopo.importing.flow import flow
from vtopo.importing.result import remarked
from vtopo.importing.yaml_text import Field, Fields, Items, Node, Scalar

_SECOND = 1_000_000
_PULL = {"ifnotpresent": "missing", "never": "never", "always": "always"}
_TIMES = {"start_period": "start-period"}


class NodeText(ContainerText):
    """Writes what stands under a node, key by key in the file's own order."""

    def __init__(
        self,
        conversion: Conversion,
        topology: Topology,
        name: str,
        entry: Field,
        *,
        node: Clab | None = None,
        many: bool = False,
    ) -> None:
        super().__init__(conversion, name, many=many)
        self.entry = entry
        self._topology = topology
        self._node = node
        self.network = "bridge" if node is None else node.mode or "bridge"

    def read(self) -> None:
        """All keys."""
        fields = self.entry.value.fields if isinstance(self.entry.value, Fields) else ()
        if isinstance(self.entry.value, Scalar) and not self.entry.value.empty:
            self.left(self.entry)
        if self._node is not None and not self._node.made:
            return
        for each in fields:
            with remarked(self.block, self.conversion.remarks, each.key, each.value):
                self._key(each)

    def _key(self, entry: Field) -> None:
        if entry.name in ("kind", "group") and not entry.value.tag:
            self._kind_or_group(entry)
        elif entry.value.tag or (self._node is not None and self._node.is_bridge):
            self.left(entry)
        elif entry.name in _ONE:
            prop, read = _ONE[entry.name]
            self.unless(self.once(prop, read(self, prop, entry.value)), entry)
        elif entry.name in _OTHERS:
            _OTHERS[entry.name](self, entry)
        else:
            self.left(entry, _REASONS.get(entry.name, ""))

    def _kind_or_group(self, entry: Field) -> None:
        """A kind or a group that is a template is said by its name; of another, by a comment."""
        text = entry.value.text if isinstance(entry.value, Scalar) else ""
        sections = {"kind": "kinds", "group": "groups"}
        said = self._node is not None and any(
            section == sections[entry.name] and shared.name == text
            for section, _, shared in self._topology.templates()
        )
        plain = entry.name == "kind" and text in ("linux", "bridge")
        if not said and not plain:
            kind = "vtopo starts the image as it is" if entry.name == "kind" else ""
            if text == "ovs-bridge":
                kind = "the kernel's own bridge here"
            self.left(entry, kind)

    def network_mode(self, entry: Field) -> None:
        text = self.known(entry.value) or ""
        if text in ("host", "none", "bridge"):
            self.unless(self.once("network", text), entry)
            return
        owner = self._topology.nodes.get(text.removeprefix("container:"))
        fits = owner is not None and owner.is_container and owner.mode in ("", "bridge", "none")
        if not fits or owner is None or self._node is None or owner is self._node:
            self.left(entry, "it takes a container of this lab with a network of its own")
        else:
            self.once("network", f"container {owner.name}")

    def execs(self, entry: Field) -> None:
        for item in items_of(entry.value):
            self.beside(item)
            words = self.words(item)
            if words is None:
                self.left(entry.name, "", item)
            else:
                self.block.say(f"exec {words}")
        self.if_no_list(entry)

    def stages(self, entry: Field) -> None:
        """What a node waits for; the rest of its stages, as a comment."""
        stages = entry.value.fields if isinstance(entry.value, Fields) else ()
        rest = []
        for stage in stages:
            if not isinstance(stage.value, Fields) or not stage.value.fields:
                rest.append(f"{stage.name}: {flow(stage.value)}")
                continue
            for part in stage.value.fields:
                waits = isinstance(part.value, Items) and part.value.items and self._node is not None
                if part.name == "wait-for" and isinstance(part.value, Items) and waits:
                    for item in part.value.items:
                        self._wait(stage.name, item)
                else:
                    rest.append(f"{stage.name}: {part.name}: {flow(part.value)}")
        for text in rest:
            self.left(f"stages: {text}")
        if not stages:
            self.left(entry)

    def _wait(self, stage: str, item: Node) -> None:
        name, until = (item.get("node"), item.get("stage")) if isinstance(item, Fields) else (None, None)
        other = self._topology.nodes.get(name.text) if isinstance(name, Scalar) else None
        assert self._node is not None
        if other is None or not other.is_container or not self.conversion.wait(self._node.name, other.name):
            self.left(f"stages: {stage}: wait-for", "each would wait for the other" if other else "", item)
            return
        if self._keyed_after(other.name):
            self.block.say(f"after {other.name}")
        if stage != "create" or not isinstance(until, Scalar) or until.text != "healthy":
            self.left(f"stages: {stage}: wait-for", "it starts when that node is ready", item)

    def _keyed_after(self, name: str) -> bool:
        fresh = ("after", name) not in self._keyed
        self._keyed.add(("after", name))
        return fresh

    def pull(self, entry: Field) -> None:
        self.unless(self.once("pull", _PULL.get((self.known(entry.value) or "").lower())), entry)

    def environment(self, entry: Field) -> None:
        if isinstance(entry.value, Fields):
            taken = [f for f in entry.value.fields if f.name == "__IMPORT_ENVS"]
            for each in taken:
                self.left(f"env {each.name}", "name each that is wanted", each.value)
            kept = tuple(f for f in entry.value.fields if f.name != "__IMPORT_ENVS")
            if taken and not kept:
                return
            entry = Field(entry.key, Fields(kept, "", entry.value.range, entry.value.size))
        self.pairs("env", entry)


Read = Callable[[NodeText, str, Node], "str | None"]

_ONE: dict[str, tuple[str, Read]] = {
    "image": ("image", lambda text, prop, node: text.image(node)),
    "cmd": ("command", lambda text, prop, node: text.words(node)),
    "entrypoint": ("entrypoint", lambda text, prop, node: text.words(node)),
    "user": ("user", lambda text, prop, node: text.string(node)),
    "privileged": ("privileged", lambda text, prop, node: text.switch(node)),
    "restart-policy": ("restart", lambda text, prop, node: text.restart(node)),
    "cpu": ("cpus", lambda text, prop, node: text.decimal(prop, node)),
    "memory": ("memory", lambda text, prop, node: text.size(prop, node)),
    "cpu-set": ("cpuset", lambda text, prop, node: text.cpuset(node)),
}

_OTHERS: dict[str, Callable[[NodeText, Field], None]] = {
    "image-pull-policy": NodeText.pull,
    "network-mode": NodeText.network_mode,
    "exec": NodeText.execs,
    "stages": NodeText.stages,
    "env": NodeText.environment,
    "labels": lambda text, entry: text.pairs("label", entry),
    "sysctls": lambda text, entry: text.sysctls(entry),
    "cap-add": lambda text, entry: text.capabilities("cap-add", entry),
    "binds": lambda text, entry: text.mounts(entry, binds=True),
    "volumes": lambda text, entry: text.mounts(entry),
    "ports": lambda text, entry: text.ports(entry),
    "healthcheck": lambda text, entry: text.ready(entry, _TIMES, _SECOND),
}

_REASONS = {
    "startup-config": "containerlab renders it for the kind; `file` or `bind` puts a file into a node",
    "license": "`bind` shows a file to a node",
    "mgmt-ipv4": "Docker numbers eth0",
    "mgmt-ipv6": "Docker numbers eth0",
    "env-files": 'write their lines as `env NAME "value"`',
    "startup-delay": "`after` waits for another node",
}
"""Why a key has no place, or what there is instead."""
