"""One container at a time: made and started, changed in place, taken away, through Docker's API."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import select
import time
from typing import Any

from vtopo.backends import (
    docker_engine,
    docker_etc,
    docker_marks,
    docker_observe,
    engine_wire,
    names,
    processes,
)
from vtopo.backends.base import BackendError, Handle, Present
from vtopo.backends.docker_client import Client
from vtopo.backends.docker_engine import Refused, words
from vtopo.backends.docker_files import Files
from vtopo.backends.docker_images import Images
from vtopo.compile.docker_spec import LAB, NODE, create_body, update_body
from vtopo.compile.resources import Container

GRACE = 0.2
"""Seconds in which a container that cannot run shows it."""
_STOPS = 10  # seconds from SIGTERM to SIGKILL, as docker(1) has it
_REMOVAL = 300.0  # seconds that the removal of one may take
_LOOKS, _LOOKS_APART = 40, 0.05  # seconds, at what became of one that ended
_NO_RIGHT = "unable to apply caps"  # runc's words
_SAYS = 5  # lines of its log that are shown of a container that exits


class Containers:
    """The containers of a lab; what the engine will not do is Refused."""

    def __init__(self, client: Client, lab: str, images: Images) -> None:
        self._client = client
        self._lab = lab
        self._images = images

    def inspect(self, container: str) -> dict[str, Any] | None:
        """What Docker tells of a container, by name or id; None if there is none."""
        try:
            with words():
                told: dict[str, Any] = self._client.inspect_container(container)
                return told
        except Refused as e:
            if e.status == 404:
                return None
            raise BackendError(f"the Docker engine does not tell about {container}: {e}") from e

    def find(self, r: Container) -> str | None:
        """The id of the container that is `r`: by its name, or renamed by its marks."""
        told = self.inspect(r.name)
        if told is not None:
            marks = told["Config"].get("Labels") or {}
            ours = marks.get(LAB) == self._lab and marks.get(NODE) == r.node
            return str(told["Id"]) if ours else None
        found = (known for known in docker_marks.containers(self._client, self._lab) if known.node == r.node)
        return next((known.id for known in found), None)

    def seen(
        self, r: Container, told: dict[str, Any], recorded: Handle | None, shared: Handle | None
    ) -> Present:
        """What there is of `r`, of which Docker has `told`, with its files."""
        present = docker_observe.present(r, told, recorded, shared)
        files = Files(self._client, str(told["Id"])).seen(r.files)
        found = r.names
        if present.handle != Handle() and r.netns and docker_etc.HOSTS in docker_etc.dockers(told):
            with contextlib.suppress(OSError):  # it has just ended
                found = docker_etc.names_found(r.names, told, present.handle)
        if (files, found) == (r.files, r.names):
            return present
        assert isinstance(present.found, Container)
        return Present(dataclasses.replace(present.found, files=files, names=found), present.handle)

    # Making

    def make(self, r: Container) -> Handle:
        """Create and start it; one that exits at once is removed again and Refused with what it said last."""
        self._images.ensure(r)
        id_ = self._new(r)
        try:
            if r.files:
                Files(self._client, id_).put(r.files)
            handle, told = self._start(r, id_)
            self._name_of_living(r, id_, _key(told), handle)
        except Refused as e:
            self.remove(id_)
            if _NO_RIGHT not in str(e):
                raise
            what = "`privileged on` gives" if r.privileged else "`cap-add` gives"
            raise Refused(f"the engine itself lacks rights that {what}: {e}", e.status) from e
        return handle

    def _new(self, r: Container) -> str:
        """The id of a new container; what a killed run left in its place goes."""
        body = create_body(r, self._lab)
        try:
            with words():
                made = self._client.create_container_from_config(body, r.name)
        except Refused as e:
            if e.status != 409:
                raise
            there = self.find(r)
            if there is None:
                raise Refused(docker_marks.taken(r.name), 409) from e
            self.remove(there)
            with words():
                made = self._client.create_container_from_config(body, r.name)
        id_ = str(made["Id"])
        try:
            _heed(made.get("Warnings"), r)
        except Refused:
            self.remove(id_)
            raise
        return id_

    def _start(self, r: Container, id_: str) -> tuple[Handle, dict[str, Any]]:
        """Start it; its handle once it has run for a moment, and what Docker tells of it."""
        with words():
            self._client.start(id_)
            told = self._client.inspect_container(id_)
        pid = int(told["State"]["Pid"])
        handle = docker_observe.handle_of(pid)
        try:
            self._set_etc(r, r, told, handle)
        except Refused:
            if processes.is_alive(handle):
                raise
        if not _lives(handle):
            raise Refused(self._why_not(r, id_, pid), 0)
        return handle, told

    def _set_etc(self, old: Container, new: Container, told: dict[str, Any], handle: Handle) -> None:
        """Give what runs the names and files that Docker has not written, or had written before for `old`."""
        try:
            if docker_etc.HOSTS in docker_etc.dockers(told) and new.netns:
                docker_etc.tell_names(old.names, new.names, told, handle)
            Files(self._client, str(told["Id"])).put_dockers(new.files, told, handle)
        except OSError as e:
            raise Refused(f"{e.strerror}: {e.filename or docker_etc.HOSTS}", 0, e.errno or 0) from e

    def _name_of_living(self, r: Container, id_: str, key: str, handle: Handle) -> None:
        """Name its network namespace; if that fails since the container has ended meanwhile, that is the reason."""
        try:
            self._name(r, key, handle)
        except Refused:
            if processes.is_alive(handle):
                raise
            raise Refused(self._why_not(r, id_, handle.pid or 0), 0) from None

    def _why_not(self, r: Container, id_: str, pid: int) -> str:
        with words():
            told = self._client.inspect_container(id_)["State"]
            for _ in range(_LOOKS):  # until Docker knows that it ended, or between two starts by its policy
                if not told["Running"] or told["Restarting"]:
                    break
                time.sleep(_LOOKS_APART)
                told = self._client.inspect_container(id_)["State"]
            if pid and told["Running"] and told["Pid"] == pid and processes.identity(pid) is None:
                return "its process is not on this machine: the engine runs containers elsewhere"
            said = self._client.logs(id_, tail=_SAYS).decode(errors="replace").splitlines()
        status = "ran out of memory" if told.get("OOMKilled") else f"exited with status {told['ExitCode']}"
        last = "".join(f"\n  {line}" for line in said)
        return f"the container of {r.image} {status} at once{f'; it said last:{last}' if last else ''}"

    def _name(self, r: Container, key: str, handle: Handle) -> None:
        """Name its network namespace where `ip netns` finds it.

        The name leads to Docker's own, `key`, so that it holds nothing: the namespace of a container that ends goes
        with its links, and does not answer in its stead.
        """
        if not r.netns:
            return
        try:
            if _inode(key) == handle.inode:
                names.point(r.netns, key)
                return
            failed = names.bind({r.netns: f"/proc/{handle.pid}/ns/net"})  # Docker's mounts are out of sight
        except OSError as e:
            failed = {r.netns: e}
        for error in failed.values():
            where = f" ({error.filename})" if error.filename else ""
            raise Refused(f"naming of {names.path(r.netns)}: {error.strerror}{where}", 0)

    # Changing

    def change(self, old: Container, new: Container) -> Handle:
        """Set limits, name and state as they are to be; what was started anew gets its namespace's name again."""
        id_ = self.find(old)
        if id_ is None:
            raise Refused(f"there is no container {old.name} of vtopo's", 404)
        if old.name != new.name:
            with words():
                self._client.rename(id_, new.name)
        if update_body(old) != update_body(new):
            self._set_limits(new, id_)
        if changed := [f for f in new.files if f not in old.files]:
            Files(self._client, id_).put(changed)
        self._set_state(old, new, id_)
        told = self.inspect(id_)
        handle = docker_observe.handle_of(int(told["State"]["Pid"])) if told is not None else Handle()
        if told is not None and handle != Handle():
            self._set_etc(old, new, told, handle)
        if told is not None and new.netns and new.state != "stopped":
            self._name(new, _key(told), handle)
        elif old.netns:
            list(names.drop([old.netns]))
        return handle

    def _set_limits(self, r: Container, id_: str) -> None:
        client = self._client
        with words():
            url = client._url("/containers/{0}/update", id_)  # update_container() of the library lacks pids
            told = client._result(client._post_json(url, data=update_body(r)), True)
        _heed(told.get("Warnings"), r)

    def _set_state(self, old: Container, new: Container, id_: str) -> None:
        client = self._client
        match old.state, new.state:
            case (was, will) if was == will or will == "detached":
                return
            case "paused", "running":
                with words():
                    client.unpause(id_)
            case _, "paused":
                with words():
                    client.pause(id_)
            case _, "stopped":
                with words():
                    client.stop(id_, timeout=_STOPS)
            case was, _:
                # One that is stopped may be about to be started again by Docker.
                with words():
                    client.stop(id_, timeout=_STOPS if was == "detached" else 0)
                self._start(new, id_)

    def disturb(self, r: Container, action: str) -> None:
        """Stop, kill, pause or resume it, as docker(1) does."""
        id_ = self.find(r)
        if id_ is None:
            raise Refused("it is gone; `vtopo up` makes it again", 404)
        client = self._client
        with words():
            match action:
                case "stop":
                    client.stop(id_, timeout=_STOPS)
                case "kill":
                    client.kill(id_)
                case "pause":
                    client.pause(id_)
                case "resume":
                    client.unpause(id_)
        if action in ("stop", "kill") and r.netns:
            list(names.drop([r.netns]))

    # Taking away

    def take_away(self, r: Container) -> None:
        """Remove it with what it wrote, and the image that was built for it; gone already is done."""
        if r.netns:
            list(names.drop([r.netns]))
        id_ = self.find(r)
        if id_ is not None:
            self.remove(id_)
        if r.build is not None:
            self._images.remove(r.image)

    def remove(self, id_: str) -> None:
        """Kill and remove a container with its nameless volumes."""
        try:
            with words():
                self._client.remove_container(id_, v=True, force=True)
        except Refused as e:
            if e.status == 404:
                return
            if e.status != 409:
                raise
            with contextlib.suppress(Refused), words():  # somebody else is removing it
                self._client.wait(id_, condition="removed", timeout=60)


def remove_at_once(r: Container, id_: str) -> bool:
    """Kill and remove the container `r` with this id, with its nameless volumes; False if that is not so simple."""
    if r.netns:
        list(names.drop([r.netns]))
    try:
        engine_wire.ask(
            docker_engine.endpoint().path, "DELETE", f"/containers/{id_}?force=1&v=1", patience=_REMOVAL
        )
    except OSError as e:
        return e.errno == 404
    return True


def _key(told: dict[str, Any]) -> str:
    return str(told["NetworkSettings"].get("SandboxKey") or "")


def _inode(path: str) -> int | None:
    try:
        return os.stat(path).st_ino  # noqa: PTH116
    except OSError:
        return None


def _lives(handle: Handle) -> bool:
    """Whether the process still runs after a moment."""
    pidfd = processes.open_verified(handle)
    if pidfd is None:
        return False
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - (handle.start or 0) / os.sysconf("SC_CLK_TCK")
        return not poll.poll(
            max(GRACE - age, GRACE / 2) * 1000
        )  # on a busy machine its first steps take longer
    finally:
        os.close(pidfd)


def _heed(warnings: list[str] | None, r: Container) -> None:
    """Refused if the engine left out something that the lab asks for.

    That the kernel does not count swap matters only to who limits it.
    """
    swap_matters = r.swap is not None or r.swappiness is not None
    if serious := [w for w in warnings or () if swap_matters or "swap" not in w.lower()]:
        raise Refused("; ".join(docker_engine.plain(w) for w in serious), 0)
