"""What of Docker's is vtopo's: known by labels and names together, since images hand labels on to strangers."""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Iterator
from typing import Any

from vtopo.backends import docker_engine
from vtopo.backends.docker_client import Client
from vtopo.backends.docker_engine import Refused, words
from vtopo.compile.docker_spec import LAB, NODE
from vtopo.values import dataclass

BUILT = "vtopo-build"
"""The repository that all images built for labs are in; its tags are hashes."""


@dataclass(frozen=True, slots=True)
class Known:
    """A container that is there, whatever its state: `lab` and `node` are empty unless it is vtopo's."""

    id: str
    name: str
    image: str
    lab: str = ""
    node: str = ""


def containers(client: Client, lab: str | None = None) -> list[Known]:
    """A lab's containers, or those of all labs."""
    label = LAB if lab is None else f"{LAB}={lab}"
    with words():
        found = client.containers(all=True, filters={"label": [label, NODE]})
    return [known for each in found if (known := _known(client, each)).lab]


def named(client: Client, names: set[str]) -> Iterator[Known]:
    """The containers that have these names, whoever made them."""
    with words():
        found = client.containers(all=True)
    for each in found:
        if names.intersection(_names(each)):
            yield _known(client, each)


def _names(listed: dict[str, Any]) -> list[str]:
    return [str(name).removeprefix("/") for name in listed.get("Names") or ()]


def _known(client: Client, listed: dict[str, Any]) -> Known:
    labels = listed.get("Labels") or {}
    lab, node = labels.get(LAB), labels.get(NODE)
    names = [name for name in _names(listed) if "/" not in name]  # "/other/alias" is a link of the old kind
    name = names[0] if names else ""
    id_, image = str(listed["Id"]), str(listed.get("Image", ""))
    if not lab or not node:
        return Known(id_, name, image)
    # A container of an image that somebody committed from one of ours inherits our labels, but not its name.
    ours = container_name(lab, node) in names or not _has_labels(client, str(listed.get("ImageID", "")))
    return Known(id_, name, image, lab, node) if ours else Known(id_, name, image)


def _has_labels(client: Client, image: str) -> bool:
    try:
        with words():
            config = client.inspect_image(image).get("Config") or {}
    except Refused:
        return True
    return LAB in (config.get("Labels") or {})


def container_name(lab: str, node: str) -> str:
    """What Docker calls a lab's container, and the name of its network namespace."""
    return f"vtopo.{lab}.{node}"


def volumes(client: Client, lab: str | None = None) -> dict[str, str]:
    """The volumes of a lab, or of all labs: name to lab."""
    label = LAB if lab is None else f"{LAB}={lab}"
    with words():
        found = client.volumes(filters={"label": [label]}).get("Volumes") or ()
    return {str(v["Name"]): str(v["Labels"][LAB]) for v in found if str(v["Name"]).startswith("vtopo.")}


def images(client: Client, lab: str | None = None) -> dict[str, str]:
    """The images that were built for a lab, or for all labs: tag to lab."""
    label = LAB if lab is None else f"{LAB}={lab}"
    with words():
        found = client.images(name=BUILT, filters={"label": [label]})
    return {
        str(tag): str(image["Labels"][LAB])
        for image in found
        for tag in image.get("RepoTags") or ()
        if str(tag).startswith(f"{BUILT}:")
    }


def taken(name: str) -> str:
    """Somebody else's container has a name that one of ours would have."""
    return f"there is a container {name} that is not vtopo's; remove or rename it (docker rename {name} …)"


# At a glance: without the library, which takes longer to load than an engine to answer


def glance(lab: str) -> list[str]:
    """What this machine's engine has of a lab, in words; nothing where none answers."""
    return [text for known, text in _glance() if known == lab]


def ids(lab: str) -> dict[str, str]:
    """The engine's ids of a lab's containers that have their own names, by node; none where no engine answers."""
    quoted = urllib.parse.quote(json.dumps({"label": [f"{LAB}={lab}"]}))
    listed = docker_engine.ask(f"/containers/json?all=1&filters={quoted}") or ()
    nodes = ((str(each["Labels"].get(NODE, "")), each) for each in listed)
    return {node: str(each["Id"]) for node, each in nodes if container_name(lab, node) in _names(each)}


def labs() -> frozenset[str]:
    """The labs of which this machine's engine has anything; none where none answers."""
    return frozenset(lab for lab, _ in _glance())


def id_of(lab: str, node: str) -> str | None:
    """The engine's id of a lab's container, which no other ever has; None if there is none, or no engine answers."""
    told = docker_engine.ask(f"/containers/{urllib.parse.quote(container_name(lab, node))}/json")
    return str(told["Id"]) if told is not None else None


def _glance() -> Iterator[tuple[str, str]]:
    quoted = urllib.parse.quote(json.dumps({"label": [LAB]}))
    for each in docker_engine.ask(f"/containers/json?all=1&filters={quoted}") or ():
        labels = each.get("Labels") or {}
        lab, node = labels.get(LAB, ""), labels.get(NODE, "")
        if container_name(lab, node) in _names(each):
            yield lab, f"container {container_name(lab, node)}"
    for each in (docker_engine.ask(f"/volumes?filters={quoted}") or {}).get("Volumes") or ():
        if str(each["Name"]).startswith("vtopo."):
            yield str(each["Labels"][LAB]), f"volume {each['Name']}"
