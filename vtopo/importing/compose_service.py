"""One service of a Compose file as a container of the lab."""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from typing import TYPE_CHECKING

from vtopo.importing.compose_limits import (
    LimitedText,
    Read,
    Service,
    read_cpuset,
    read_decimal,
    read_number,
    read_size,
    read_string,
    read_switch,
    read_words,
)
from vtopo.importing.container import Conversion, items_of
from vtopo.importing.result import remarked
from vtopo.importing.writing import Block, quoted
from vtopo.importing.yaml_text import Field, Fields, Items, Scalar

if TYPE_CHECKING:
    from vtopo.importing.compose_networks import Networks


class ServiceText(LimitedText):
    """Writes a service, key by key in the file's own order."""

    def __init__(
        self,
        conversion: Conversion,
        service: Service,
        services: dict[str, Service],
        root: Fields,
        networks: Networks,
    ) -> None:
        super().__init__(conversion, service)
        self._services = services
        self._root = root
        self._networks = networks
        self.network = service.mode or None

    def write(self, block: Block, links: Block) -> None:
        """The container, and its links."""
        entry, remarks = self.service.entry, self.conversion.remarks
        for text in (*remarks.above(entry.key.range.line), *remarks.between(*[entry.key.range.line] * 2)):
            block.note(text)
        if entry.name != self.name:
            block.note(f"{entry.name}: {self.name} here")
        for each in self.service.body.fields:
            with remarked(self.block, remarks, each.key, each.value):
                self._key(each)
        for text in remarks.between(entry.key.range.line, entry.value.range.end_line):
            self.block.note(text)
        self._networks.link(self, links)
        if self.network == "bridge":
            self.once("network", "bridge")
        index = f"[1..{self.service.count}]" if self.service.count > 1 else ""
        block.nest(f"container {self.name}{index}", self.block)

    def _key(self, entry: Field) -> None:
        if entry.value.tag:
            self.left(entry)
        elif entry.name in _ONE:
            prop, read = _ONE[entry.name]
            self.unless(self.once(prop, read(self, prop, entry.value)), entry)
        elif entry.name in _OTHERS:
            _OTHERS[entry.name](self, entry)
        else:
            self.left(entry, _REASONS.get(entry.name, ""))

    # Image and command

    def image_or_build(self, entry: Field) -> None:
        if self.service.body.get("build") is not None and entry.name == "image":
            self.left(entry, "it is built")
            return
        if entry.name == "image":
            self.unless(self.once("image", self.image(entry.value)), entry)
            return
        given = entry.value
        fields = (
            given.fields
            if isinstance(given, Fields)
            else (Field(Scalar("context", True, "", given.range), given),)
        )
        for each in fields:
            text = self.known(each.value)
            if each.name != "context":
                if each.name != "dockerfile" or text != "Dockerfile":
                    self.left(f"build {each.name}", "", each.value)
            elif text is None or "://" in text or text.startswith(("git@", "github.com", "~")):
                self.left("build", "vtopo builds what is in a folder", each.value)
            else:
                self.once("build", quoted(self.conversion.path(text)))

    def restarted(self, entry: Field) -> None:
        policy = self.restart(entry.value)
        self.unless(self.once("restart", policy), entry)
        if policy is not None and ":" in (self.known(entry.value) or ""):
            self.left(entry, "without a count")

    def pull(self, entry: Field) -> None:
        words = {"if_not_present": "missing", "always": "always", "never": "never", "missing": "missing"}
        self.unless(self.once("pull", words.get(self.known(entry.value) or "")), entry)

    # Order

    def depends(self, entry: Field) -> None:
        for item in items_of(entry.value):
            if isinstance(item, Scalar):
                self.follow(entry.name, item.text)
            else:
                self.left(entry.name, "", item)
        for each in entry.value.fields if isinstance(entry.value, Fields) else ():
            self._depends_on(entry.name, each)
        if not (entry.value.fields if isinstance(entry.value, Fields) else items_of(entry.value)):
            self.left(entry)

    def _depends_on(self, key: str, other: Field) -> None:
        """The long form: the service, and on what condition."""
        how = other.value
        condition = how.get("condition") if isinstance(how, Fields) else None
        text = condition.text if isinstance(condition, Scalar) else ""
        ends = text == "service_completed_successfully"
        self.follow(key, other.name, "what ends does not stand in a lab" if ends else "")
        if not isinstance(how, Fields):
            self.left(f"{key} {other.name}", "", how)
            return
        for each in how.fields:
            said = each.name == "condition" and (ends or text in ("service_started", "service_healthy"))
            if not said:
                self.left(f"{key} {other.name} {each.name}", "", each.value)

    def follow(self, key: str, name: str, why: str = "") -> None:
        other = self._services.get(name)
        if other is None or why:
            self.left(f"{key}: {name}", why or "no service of this file")
        elif not self.conversion.wait(self.name, other.name):
            self.left(f"{key}: {name}", "each would wait for the other")
        else:
            self.block.say(f"after {other.reference}")

    def linked(self, entry: Field) -> None:
        for item in items_of(entry.value):
            name, _, alias = (self.known(item) or "").partition(":")
            if name in {*self._after_already()}:
                self.left(entry.name, "", item)
                continue
            if not name:
                self.left(entry.name, "", item)
                continue
            self.follow(entry.name, name)
            if alias:
                self.left(f"{entry.name}: {name}:{alias}", "a node has its own name only")
        self.if_no_list(entry)

    def _after_already(self) -> set[str]:
        names = {s.name: key for key, s in self._services.items()}
        return {names[name] for name in self.conversion.waits.get(self.name, ()) if name in names}

    def health(self, entry: Field) -> None:
        check = entry.value
        off = check.get("disable") if isinstance(check, Fields) else None
        if off is not None and self.switch(off) == "on":
            self.left(entry)
            return
        self.ready(entry, {}, None)

    # Networks

    def mode(self, entry: Field) -> None:
        text = self.known(entry.value) or ""
        if text in ("host", "none", "bridge"):
            self.unless(self.once("network", text), entry)
            return
        owner = self._owner(text.removeprefix("service:")) if text.startswith("service:") else None
        if owner is None or not self.once("network", f"container {owner.name}"):
            self.network = None
            self.left(entry, "no service of this file")

    def _owner(self, name: str) -> Service | None:
        """The service whose network it is in the end."""
        seen = {self.service.entry.name}
        while (found := self._services.get(name)) is not None and name not in seen:
            seen.add(name)
            if not found.mode.startswith("service:"):
                return found if found.count == 1 and found.mode != "host" else None
            name = found.mode.removeprefix("service:")
        return None

    def published(self, entry: Field) -> None:
        for node in items_of(entry.value):
            self.beside(node)
            self.publish(entry.name, node, self.port(node) if isinstance(node, Fields) else self.known(node))
        self.if_no_list(entry)

    def port(self, node: Fields) -> str | None:
        """The long form in the words of the short one; what else it says, as a comment."""
        parts = {}
        for each in node.fields:
            text = self.known(each.value)
            if each.name in ("target", "published", "host_ip", "protocol") and text is not None:
                parts[each.name] = text
            else:
                self.left(f"ports {each.name}", "", each.value)
        address = f"{parts['host_ip']}:" if parts.get("host_ip") else ""
        return (
            f"{address}{parts.get('published', '')}:{parts.get('target', '')}/{parts.get('protocol', 'tcp')}"
        )

    # Storage

    def volumes_of(self, entry: Field) -> None:
        short = [item for item in items_of(entry.value) if not isinstance(item, Fields)]
        if isinstance(entry.value, Fields):
            self.left(entry)
        elif short or not isinstance(entry.value, Items):
            self.mounts(Field(entry.key, Items(tuple(short), "", entry.value.range, 1)))
        for node in items_of(entry.value):
            self.beside(node)
            if isinstance(node, Fields):
                self._long_mount(entry.name, node)

    def _long_mount(self, name: str, node: Fields) -> None:
        known = {f.name: self.known(f.value) for f in node.fields}
        kind, source, target = known.get("type"), known.get("source") or "", known.get("target")
        if kind not in ("bind", "volume") or target is None:
            self.left(name, "", node)
            return
        read_only = (known.get("read_only") or "").lower() in ("true", "yes", "on")
        self.mount(name, node, source, target, ["ro"] if read_only else [], binds=kind == "bind")
        for each in node.fields:
            if each.name not in ("type", "source", "target", "read_only"):
                self.left(f"{name} {target} {each.name}", "", each.value)

    def given_files(self, entry: Field) -> None:
        """Secrets and configs: files in the container."""
        top = self._root.get(entry.name)
        for node in items_of(entry.value):
            self.beside(node)
            long = node if isinstance(node, Fields) else None
            name = self.known(long.get("source") or node if long else node) or ""
            said = top.get(name) if isinstance(top, Fields) else None
            source = said.get("file") if isinstance(said, Fields) else None
            path = self.known(source) if source is not None else None
            target = (self.known(long.get("target") or node) if long else None) or name
            if path is None or path.startswith("~") or not name:
                self.left(entry.name, "", node)
                continue
            if not target.startswith("/"):
                target = f"/run/secrets/{target}" if entry.name == "secrets" else f"/{target}"
            if ".." in target.split("/") or target.endswith("/") or not self._new_place(target):
                self.left(entry.name, "", node)
                continue
            self.conversion.files.add((entry.name, name))
            self.block.say(
                f"file {quoted(target)} from {quoted(self.conversion.path(path))}{self._owner_of(entry, long)}"
            )
        self.if_no_list(entry)

    def _owner_of(self, entry: Field, long: Fields | None) -> str:
        """The block of a file's mode and owner."""
        if long is None:
            return ""
        texts = {f.name: self.known(f.value) or "" for f in long.fields}
        mode = texts.get("mode", "").replace("o", "")
        parts = [f"mode {quoted(mode)}"] if mode and len(mode) < 5 and set(mode) <= set("01234567") else []
        uid, gid = texts.get("uid", "0"), texts.get("gid", "0")
        owned = ("uid" in texts or "gid" in texts) and uid.isdigit() and gid.isdigit()
        if owned:
            parts.append(f"owner {quoted(f'{uid}:{gid}')}")
        for each in long.fields:
            done = each.name in ("source", "target") or (each.name == "mode" and parts and "mode" in parts[0])
            if not done and not (owned and each.name in ("uid", "gid")):
                self.left(f"{entry.name} {each.name}", "", each.value)
        return f" {{ {'; '.join(parts)} }}" if parts else ""

    def _new_place(self, target: str) -> bool:
        place = posixpath.normpath(target)
        if place in self._targets:
            return False
        self._targets.add(place)
        return True

    def replicas(self, entry: Field) -> None:
        self.unless(self.known(entry.value) == str(self.service.count), entry)

    def named(self, entry: Field) -> None:
        same = self.known(entry.value) == self.name
        self.unless(
            same,
            entry,
            "vtopo names it in Docker" if entry.name == "container_name" else "its name is its host name",
        )


_ONE: dict[str, tuple[str, Read]] = {
    "command": ("command", read_words),
    "entrypoint": ("entrypoint", read_words),
    "user": ("user", read_string),
    "working_dir": ("workdir", read_string),
    "privileged": ("privileged", read_switch),
    "mem_limit": ("memory", read_size),
    "mem_reservation": ("memory-reservation", read_size),
    "mem_swappiness": ("swappiness", read_number),
    "cpus": ("cpus", read_decimal),
    "cpuset": ("cpuset", read_cpuset),
    "cpu_shares": ("cpu-weight", read_number),
    "pids_limit": ("pids", read_number),
}
"""Keys with one value: the property, and how its value is read."""

_OTHERS: dict[str, Callable[[ServiceText, Field], None]] = {
    "image": ServiceText.image_or_build,
    "build": ServiceText.image_or_build,
    "restart": ServiceText.restarted,
    "pull_policy": ServiceText.pull,
    "depends_on": ServiceText.depends,
    "links": ServiceText.linked,
    "healthcheck": ServiceText.health,
    "network_mode": ServiceText.mode,
    "networks": lambda text, entry: text._networks.leave(text, entry),
    "ports": ServiceText.published,
    "volumes": ServiceText.volumes_of,
    "secrets": ServiceText.given_files,
    "configs": ServiceText.given_files,
    "environment": lambda text, entry: text.pairs("env", entry),
    "labels": lambda text, entry: text.pairs("label", entry),
    "sysctls": lambda text, entry: text.sysctls(entry),
    "cap_add": lambda text, entry: text.capabilities("cap-add", entry),
    "cap_drop": lambda text, entry: text.capabilities("cap-drop", entry),
    "memswap_limit": ServiceText.memory_and_swap,
    "cpu_quota": ServiceText.quota,
    "cpu_period": ServiceText.period,
    "oom_kill_disable": ServiceText.oom,
    "blkio_config": ServiceText.block_io,
    "devices": ServiceText.devices,
    "deploy": ServiceText.deploy,
    "scale": ServiceText.replicas,
    "container_name": ServiceText.named,
    "hostname": ServiceText.named,
}
"""Keys that take more."""

_REASONS = {
    "expose": "on the lab's links every port is open",
    "env_file": 'write its lines as `env NAME "value"`',
    "profiles": "vtopo makes all that its file says; a `param` and an `if` choose",
    "extends": "a `template` is what nodes share",
    "tty": "each container has a terminal",
    "stdin_open": "each container's standard input is open",
    "extra_hosts": "`exec` can write /etc/hosts",
    "tmpfs": "",
}
"""Why a key has no place, or what there is instead."""
