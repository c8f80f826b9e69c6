"""What names a lab's VMs: for libvirt, for QEMU, and for the file system. Loaded by commands that look for any left."""

from __future__ import annotations

MARK = "urn:vtopo:domain"
"""The namespace of our element in a domain's metadata: who carries it is vtopo's."""

FOLDER = "/var/lib/libvirt/vtopo"
"""Where root's VMs have their files, each lab a folder in it, unless told otherwise."""

_SPACE = "b3f9b9b4-5f0c-5a5e-9d8f-2f1d8b8d9f6b"


def domain_name(lab: str, node: str) -> str:
    """What libvirt calls a VM."""
    return f"vtopo.{lab}.{node}"


def domain_uuid(lab: str, node: str) -> str:
    """A VM's UUID: from its name alone (RFC 4122, version 5), so that the guest has the same for ever."""
    import uuid  # late: it looks at the machine

    return str(uuid.uuid5(uuid.UUID(_SPACE), domain_name(lab, node)))


def console_log(node: str) -> str:
    """The file of a VM's console in the lab's disk folder."""
    return f"{node}.console.log"
