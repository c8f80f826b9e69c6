"""A container's block while it is written: what both compose and containerlab say of a container of Docker's."""

from __future__ import annotations

import ipaddress
import posixpath
import re
import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import field

from vtopo.importing.flow import flow
from vtopo.importing.names import Names
from vtopo.importing.quantities import microseconds, size, thousandths, value, whole
from vtopo.importing.variables import Variables
from vtopo.importing.writing import Block, key, listed, quoted
from vtopo.importing.yaml_text import Field, Fields, Items, Node, Remarks, Scalar
from vtopo.values import dataclass

MOST_PORTS = 200
"""Ports of one entry that are written out."""

_ENV = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_CAPABILITY = re.compile(r"(?:CAP_)?[A-Z][A-Z_]{1,40}|ALL")
_SYSCTL = re.compile(r"net(?:[./][A-Za-z0-9_.:/-]+)+")
_PORT = re.compile(
    r"(?:(?P<address>\[[^\]]*\]|[^:/\[\]]*|[0-9A-Fa-f]*:[0-9A-Fa-f:.]*):(?=[\d-]*:))?"
    r"(?:(?P<host>\d{1,5}(?:-\d{1,5})?)?:)?(?P<inside>\d{1,5}(?:-\d{1,5})?)(?:/(?P<protocol>[A-Za-z]+))?"
)
_EVERYWHERE = frozenset({"", "0.0.0.0", "::", "[::]"})  # noqa: S104 - what compose files say
_ON, _OFF = frozenset({"true", "yes", "on"}), frozenset({"false", "no", "off"})
_RESTART = {"no", "always", "on-failure", "unless-stopped"}


@dataclass
class Conversion:
    """What is known of the whole lab while its file is read."""

    names: Names
    variables: Variables
    remarks: Remarks
    folder: str
    """Where the file's relative paths begin, as seen from the lab's file."""
    decimal: bool
    """Whether 1k is 1000 bytes."""
    published: set[tuple[int, str]] = field(default_factory=set)
    volumes: dict[str, str] = field(default_factory=dict)
    files: set[tuple[str, str]] = field(default_factory=set)
    """The file's secrets and configs that nodes have as files: `secrets` or `configs`, and the name."""
    waits: dict[str, set[str]] = field(default_factory=dict)
    """Which nodes each node waits for."""
    left: int = 0
    """How much stands in comments alone."""

    def wait(self, node: str, other: str) -> bool:
        """Have a node wait for another; False if that one waits for it."""
        ahead, seen = [other], {other}
        while ahead:
            for each in self.waits.get(ahead.pop(), ()):
                if each not in seen:
                    seen.add(each)
                    ahead.append(each)
        if node in seen:
            return False
        self.waits.setdefault(node, set()).add(other)
        return True

    def path(self, text: str) -> str:
        """A path of the file as the lab's file says it."""
        text = re.sub(r"^\$(?:PWD|\{PWD\})(?=/|$)", ".", text)
        return posixpath.normpath(text if text.startswith("/") else posixpath.join(self.folder, text))


class ContainerText:
    """The block of one container, or of a template of containers."""

    def __init__(self, conversion: Conversion, name: str, *, many: bool = False) -> None:
        self.conversion = conversion
        self.name = name
        self.many = many
        """Whether the block is of several nodes."""
        self.block = Block()
        self.network: str | None = None
        """What the file says of its network: `bridge`, `host`, `none` or another container's name."""
        self._keyed: set[tuple[str, str]] = set()
        self._targets: set[str] = set()

    # What any property is said by

    def once(self, prop: str, text: str | None) -> bool:
        """Say a property with one value; False if there is no value, or it stands here already."""
        if text is None or prop in self.block.said:
            return False
        self.block.said.add(prop)
        self.block.say(f"{prop} {text}")
        return True

    def keyed(self, prop: str, name: str, text: str) -> bool:
        """Say one of several, each with another key."""
        if (prop, name) in self._keyed:
            return False
        self._keyed.add((prop, name))
        self.block.say(text)
        return True

    def left(self, entry: Field | str, why: str = "", node: Node | None = None) -> None:
        """What was written, as a comment."""
        self.conversion.left += 1
        what = f"{entry.name}: {flow(entry.value)}" if isinstance(entry, Field) else entry
        if node is not None:
            what = f"{what}: {flow(node)}"
        self.block.note(what.rstrip() + (f"  ({why})" if why else ""))

    def unless(self, done: bool, entry: Field, why: str = "") -> None:
        """Leave what could not be said."""
        if not done:
            self.left(entry, why)

    def beside(self, node: Node) -> None:
        """The comments above and beside one of several values."""
        remarks, place = self.conversion.remarks, node.range
        for text in (*remarks.above(place.line), *remarks.between(place.line, place.end_line)):
            self.block.note(text)

    # Values

    def string(self, node: Node) -> str | None:
        """A text with its variables."""
        if not isinstance(node, Scalar) or node.empty or node.tag:
            return None
        return self.conversion.variables.string(node.text)

    def image(self, node: Node) -> str | None:
        """An image's name: nothing is none."""
        if not isinstance(node, Scalar) or node.empty or node.tag:
            return None
        return self.conversion.variables.string(node.text, needed=True)

    def known(self, node: Node) -> str | None:
        """A text whose variables have defaults."""
        if not isinstance(node, Scalar) or node.empty or node.tag:
            return None
        return self.conversion.variables.known(node.text)

    def switch(self, node: Node) -> str | None:
        """`on` or `off`."""
        text = (self.known(node) or "").lower()
        return "on" if text in _ON else "off" if text in _OFF else None

    def amount(self, prop: str, node: Node, read: Callable[[str], int | None]) -> str | None:
        """A number with its unit, within the property's bounds."""
        text = self.known(node)
        number = read(text) if text is not None else None
        return value(prop, number) if number is not None else None

    def bytes(self, node: Node) -> int | None:
        """Bytes of a size."""
        text = self.known(node)
        return size(text, decimal=self.conversion.decimal) if text is not None else None

    def size(self, prop: str, node: Node) -> str | None:
        """A size."""
        return self.amount(prop, node, lambda text: size(text, decimal=self.conversion.decimal))

    def number(self, prop: str, node: Node) -> str | None:
        """A whole number."""
        return self.amount(prop, node, whole)

    def decimal(self, prop: str, node: Node) -> str | None:
        """A decimal number."""
        return self.amount(prop, node, thousandths)

    def cpuset(self, node: Node) -> str | None:
        """CPUs such as 0-3,5."""
        parts = []
        for part in (self.known(node) or "").split(","):
            match = re.fullmatch(r"\s*(\d{1,4})(?:-(\d{1,4}))?\s*", part)
            if match is None or int(match[2] or match[1]) < int(match[1]) or int(match[2] or match[1]) > 8191:
                return None
            parts.append(match[1] if match[2] is None else f"{int(match[1])}..{int(match[2])}")
        return parts[0] if len(parts) == 1 else listed(parts)

    def words(self, node: Node) -> str | None:
        """A command that no shell reads: a list, or a text in words as a shell would part them."""
        if isinstance(node, Items):
            texts = [self.string(item) for item in node.items]
            shown = [text for text in texts if text is not None]
            return listed(shown) if shown and len(shown) == len(texts) else None
        if not isinstance(node, Scalar) or node.empty or node.tag:
            return None
        try:
            parts = shlex.split(node.text)
        except ValueError:
            return None
        return listed(map(self.conversion.variables.string, parts)) if parts else None

    def restart(self, node: Node) -> str | None:
        """When Docker starts it again."""
        policy = (self.known(node) or "").partition(":")[0]
        policy = "no" if policy == "false" else policy
        return policy if policy in _RESTART else None

    # Properties with several values

    def pairs(self, prop: str, entry: Field) -> None:
        """`env` and `label`: a map, or a list of NAME=VALUE."""
        for name, node in pairs_of(entry.value):
            self.beside(node)
            text = self._value(node)
            if text is None:
                here = isinstance(node, Scalar) and node.empty
                why = "compose takes the value from its own environment" if here and prop == "env" else ""
                self.left(f"{entry.name} {name}", why, node)
            elif not _ENV.fullmatch(name):
                self.left(f"{entry.name} {name}", "a name of letters, digits and _ . - is needed", node)
            elif not self.keyed(prop, name, f"{prop} {key(name)} {text}"):
                self.left(f"{entry.name} {name}", "given twice", node)
        self._if_empty(entry)

    def _value(self, node: Node) -> str | None:
        if isinstance(node, Scalar) and not node.empty and not node.tag:
            return self.conversion.variables.string(node.text)
        return None

    def _if_empty(self, entry: Field) -> None:
        empty = isinstance(entry.value, Scalar) or not (
            entry.value.items if isinstance(entry.value, Items) else entry.value.fields
        )
        if empty and not (
            isinstance(entry.value, Scalar) and not entry.value.empty and "=" in entry.value.text
        ):
            self.left(entry, "nothing that could be read")

    def sysctls(self, entry: Field) -> None:
        """Kernel settings."""
        for name, node in pairs_of(entry.value):
            self.beside(node)
            text = self.known(node)
            if not _SYSCTL.fullmatch(name):
                self.left(f"{entry.name} {name}", "only settings of the network are a node's own", node)
            elif (
                text is None
                or not text
                or not self.keyed(
                    "sysctl", name, f"sysctl {quoted(name)} {text if _number(text) else quoted(text)}"
                )
            ):
                self.left(f"{entry.name} {name}", "", node)
        self._if_empty(entry)

    def capabilities(self, prop: str, entry: Field) -> None:
        """Capabilities, each once."""
        found: list[str] = []
        for node in items_of(entry.value):
            self.beside(node)
            text = self.known(node)
            if text is not None and _CAPABILITY.fullmatch(text.upper()):
                found.append(text.upper().removeprefix("CAP_"))
            else:
                self.left(entry.name, "no capability", node)
        if not found or not self.once(prop, listed(dict.fromkeys(found))):
            self.left(entry)

    def ready(self, entry: Field, names: dict[str, str], bare: int | None) -> None:
        """A healthcheck: its command is what `up` waits for, as long as the check could take in all.

        `names` are the file's words for Docker's; `bare` are the microseconds of a time without a unit.
        """
        check = entry.value
        test = check.get("test") if isinstance(check, Fields) else None
        command = self._test(test) if test is not None else None
        assert isinstance(check, Fields) or command is None
        if command is None or not isinstance(check, Fields):
            self.left(entry)
            return
        times = {}
        for word, default in (("start_period", 0), ("interval", 30_000_000), ("timeout", 30_000_000)):
            node = check.get(names.get(word, word))
            text = self.known(node) if node is not None else None
            times[word] = default if text is None else microseconds(text, bare=bare)
        retries = check.get("retries")
        tries = whole(self.known(retries) or "") if retries is not None else 3
        given = {f.name for f in check.fields} - {"test"}
        total = None
        if None not in times.values() and tries is not None:
            each = max(times["interval"] or 0, 0 if "timeout" not in given else times["timeout"] or 0)
            total = min((times["start_period"] or 0) + max(tries, 1) * each, 24 * 3_600_000_000)
        rest = [f for f in check.fields if f.name != "test"]
        if rest:
            said = ", ".join(f"{f.name} {flow(f.value)}" for f in rest)
            self.left(f"{entry.name}: {said}", "tried again and again until it succeeds")
        within = f" within {_seconds(total)}" if total else ""
        self.block.say(f"ready {command}{within}")

    def _test(self, test: Node) -> str | None:
        """The command of a check; a string, and what follows CMD-SHELL, is for the shell."""
        if isinstance(test, Scalar):
            return self.string(test)
        words = list(test.items) if isinstance(test, Items) else []
        first = words[0].text if words and isinstance(words[0], Scalar) else ""
        if first == "CMD-SHELL" and len(words) == 2:
            return self.string(words[1])
        if first == "CMD" and len(words) > 1:
            return self.words(Items(tuple(words[1:]), "", test.range, test.size))
        return None

    # Ports

    def ports(self, entry: Field) -> None:
        """Ports of the machine in the words of `docker run -p`."""
        for node in items_of(entry.value):
            self.beside(node)
            text = self.known(node)
            self.publish(entry.name, node, text)
        self.if_no_list(entry)

    def publish(self, name: str, node: Node, text: str | None) -> None:
        """One entry of them."""
        pairs = _ports(text) if text is not None else "the port is a variable's"
        if isinstance(pairs, str):
            self.left(name, pairs, node)
            return
        if self.network not in (None, "bridge") or self.many:
            why = "only one of several can have the port" if self.many else f"its network is {self.network}"
            self.left(name, why, node)
            return
        for host, inside, protocol in pairs:
            if (host, protocol) in self.conversion.published:
                self.left(name, f"the machine's port {host} is published already", node)
                continue
            self.conversion.published.add((host, protocol))
            self.network = "bridge"
            udp = " udp" if protocol == "udp" else ""
            self.block.say(f"publish {host}:{inside}{udp}")

    def if_no_list(self, entry: Field) -> None:
        if not isinstance(entry.value, Items) or not entry.value.items:
            self.left(entry)

    # Folders and files

    def mounts(self, entry: Field, *, binds: bool = False) -> None:
        """Volumes and binds in the words of `docker run -v`; with `binds`, a bare source is a path too."""
        for node in items_of(entry.value):
            self.beside(node)
            text = self.known(node) if isinstance(node, Scalar) else None
            if text is None and isinstance(node, Scalar):
                # A path of the machine may begin in a folder that is known: the one of the file.
                text = re.sub(r"^\$(?:PWD|\{PWD\})(?=/)", ".", node.text)
                text = self.conversion.variables.known(text)
            if text is None:
                self.left(entry.name, "", node)
                continue
            source, target, *modes = _mount(text)
            self.mount(entry.name, node, source, target, modes, binds=binds)
        self.if_no_list(entry)

    def mount(
        self, name: str, node: Node, source: str, target: str, modes: Iterable[str], *, binds: bool = False
    ) -> None:
        """One mount; a source that is no path is a volume's name."""
        modes = [mode for mode in modes if mode]
        mode = " ro" if "ro" in modes else ""
        others = [each for each in modes if each not in ("ro", "rw")]
        place = posixpath.normpath(target) if target.startswith("/") else ""
        if not place.strip("/") or ".." in target.split("/") or place in self._targets:
            why = "something is there already" if place in self._targets else "no path in the container"
            self.left(name, why, node)
            return
        is_path = binds or source.startswith(("/", ".", "~", "$PWD", "${PWD}"))
        if source.startswith(("~", "__clab")) or (is_path and not source):
            self.left(name, "name the folder itself", node)
            return
        if is_path:
            path = self.conversion.path(source)
            done = self.keyed("bind", path, f"bind {quoted(path)} -> {quoted(place)}{mode}")
        else:
            volume = self._volume(source, place)
            done = self.keyed("volume", volume, f"volume {key(volume)} -> {quoted(place)}{mode}")
        if not done:
            self.left(name, "vtopo shows a folder or a volume at one place of a node", node)
            return
        self._targets.add(place)
        if others:
            self.left(name, f"without {', '.join(others)}", node)

    def _volume(self, source: str, target: str) -> str:
        """A volume's name; one without has that of its node and place."""
        wanted = source or f"{self.name}{target}"
        if wanted not in self.conversion.volumes:
            plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", wanted).strip("-.")[:90] or "volume"
            taken = set(self.conversion.volumes.values())
            number = 1
            name = plain
            while name in taken:
                number += 1
                name = f"{plain}-{number}"
            self.conversion.volumes[wanted] = name
        return self.conversion.volumes[wanted]


def pairs_of(node: Node) -> Iterator[tuple[str, Node]]:
    """Names with their values: of a map, of a list of NAME=VALUE, or of one."""
    if isinstance(node, Fields):
        for entry in node.fields:
            yield entry.name, entry.value
        return
    for item in items_of(node):
        if not isinstance(item, Scalar):
            yield "", item
            continue
        name, equals, text = item.text.partition("=")
        yield name, Scalar(text, not equals, item.tag, item.range)


def items_of(node: Node) -> tuple[Node, ...]:
    """The items of a list; of a single value itself."""
    if isinstance(node, Items):
        return node.items
    return () if isinstance(node, Fields) or node.empty else (node,)


def _mount(text: str) -> list[str]:
    """SOURCE, TARGET and options."""
    parts = text.split(":")
    if len(parts) == 1:
        return ["", parts[0]]
    source, target, *modes = parts
    return [source, target, *",".join(modes).split(",")]


def _ports(text: str) -> list[tuple[int, int, str]] | str:
    """The pairs of ports that an entry says, with their protocol; or why vtopo cannot have them."""
    match = _PORT.fullmatch(text.strip())
    if match is None:
        return "no port that could be read"
    address, protocol = match["address"] or "", (match["protocol"] or "tcp").lower()
    if address not in _EVERYWHERE:
        return f"vtopo publishes at every address of the machine, not at {_shown(address)} alone"
    if match["host"] is None:
        return "Docker picks a port of the machine; vtopo publishes what is named"
    if protocol not in ("tcp", "udp"):
        return f"vtopo publishes tcp and udp, not {protocol}"
    host, inside = _range(match["host"]), _range(match["inside"])
    if host is None or inside is None:
        return "a port is a number from 1 to 65535"
    if len(host) != len(inside):
        return "as many ports of the machine as of the container are needed"
    if len(host) > MOST_PORTS:
        return f"more than {MOST_PORTS} ports"
    return [(h, i, protocol) for h, i in zip(host, inside, strict=True)]


def _range(text: str) -> range | None:
    first, _, last = text.partition("-")
    start, end = int(first), int(last or first)
    return range(start, end + 1) if 1 <= start <= end <= 65535 else None


def _shown(address: str) -> str:
    try:
        return str(ipaddress.ip_address(address.strip("[]")))
    except ValueError:
        return address


def _number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19


def _seconds(amount: int) -> str:
    """Microseconds, rounded up to what a reader would write."""
    seconds = -(-amount // 1_000_000)
    return f"{seconds}s" if seconds % 60 or not seconds else f"{seconds // 60}min"
