"""What goes on in a node: its files, settings, commands, daemons, and when it is ready."""

from __future__ import annotations

from vtopo.lang.source import Range
from vtopo.values import dataclass


@dataclass(frozen=True, slots=True)
class NodeFile:
    """A file in a node: text, or bytes in base64 if `binary`; `mode` are its permission bits."""

    path: str
    content: str
    binary: bool
    mode: int
    owner: str
    range: Range


@dataclass(frozen=True, slots=True)
class Bind:
    """A file or folder of the machine, seen in a node at `target`."""

    source: str
    target: str
    read_only: bool
    range: Range


@dataclass(frozen=True, slots=True)
class Setting:
    """A kernel setting of a node, with its dotted key."""

    key: str
    value: str
    range: Range


@dataclass(frozen=True, slots=True)
class Command:
    """What runs in a node: once, when it is made, or, if `kept`, for ever."""

    kept: bool
    words: tuple[str, ...]
    range: Range


@dataclass(frozen=True, slots=True)
class Ready:
    """When a node is ready: something listens on the TCP `port`, its log has `text`, or `command` succeeds.

    With none of these, which only a VM can say, its guest agent answers. `within` is in µs.
    """

    port: int | None
    text: str | None
    command: tuple[str, ...]
    within: int
    range: Range


@dataclass(frozen=True, slots=True)
class Life:
    """What goes on in a node: `commands` in the order in which they start, `after` the nodes that it waits for."""

    node: str
    env: tuple[tuple[str, str], ...]
    files: tuple[NodeFile, ...]
    binds: tuple[Bind, ...]
    sysctls: tuple[Setting, ...]
    commands: tuple[Command, ...]
    ready: tuple[Ready, ...]
    after: tuple[str, ...]
    range: Range

    @property
    def is_empty(self) -> bool:
        """Whether nothing does."""
        return not any(
            (self.env, self.files, self.binds, self.sysctls, self.commands, self.ready, self.after)
        )
