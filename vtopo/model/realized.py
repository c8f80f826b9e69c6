"""What resources stand for: the kinds and properties that `up` makes real; of all others it says so, and stops."""

from __future__ import annotations

from collections.abc import Mapping

from vtopo.model.schema import SCHEMA, Place
from vtopo.model.schema.links import IMPAIRMENTS
from vtopo.model.schema.nodes import LIMITS

KINDS = frozenset({"host", "container", "bridge", "vm", "uplink"})
"""The kinds of nodes that are made."""

_IMPAIRMENTS = frozenset(prop.name for prop in IMPAIRMENTS)

_NODE = frozenset({"route", "interface", "data"})

_VM = frozenset(
    {
        *(
            "image",
            "disk",
            "kernel",
            "initrd",
            "cmdline",
            "vcpus",
            "cpu",
            "memory",
            "nic",
            "accel",
            "machine-type",
        ),
        *(
            "firmware",
            "hyperv",
            "graphics",
            "balloon",
            "persist",
            "cloud-init",
            "ssh",
            "cpus",
            "cpu-weight",
            "cpuset",
        ),
        *("route", "data", "ready", "after"),
        *("env", "file", "sysctl", "run", "exec"),
    }
)

_LIFE = frozenset({"env", "label", "file", "bind", "sysctl", "run", "exec", "ready", "after"})

REALIZED: Mapping[Place, frozenset[str]] = {
    **{place: frozenset(SCHEMA[place]) for place in (Place.LAB, Place.MACHINE, Place.SCENARIO)},
    Place.HOST: _NODE
    | _LIFE
    | {"forward", "masquerade", "namespaces", "map", "rootfs"}
    | {prop.name for prop in LIMITS},
    Place.CONTAINER: frozenset(SCHEMA[Place.CONTAINER]),
    Place.VM: _VM,
    Place.BRIDGE: frozenset(SCHEMA[Place.BRIDGE]),
    Place.UPLINK: frozenset(SCHEMA[Place.UPLINK]),
    Place.LINK: frozenset(SCHEMA[Place.LINK]),
    Place.END: frozenset(SCHEMA[Place.END]),
    Place.DIRECTION: _IMPAIRMENTS,
    Place.OVERLAY: frozenset(SCHEMA[Place.OVERLAY]),
}
"""The properties that are made real, or that only decide what others are."""
