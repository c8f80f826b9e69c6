"""What a VM is to have and run, as cloud-init's user data: a cloud-config, beside the lab's own if there is one.

JSON is YAML, and the lab's own text is in base64, so no value can break out of its place.
"""

from __future__ import annotations

import base64
import json
import re
import shlex
from collections.abc import Iterator, Sequence

from vtopo.digests import sha256
from vtopo.model.lab import Life, NodeFile

_PLACE = "/usr/local/lib/vtopo"
_SYSCTLS = "/etc/sysctl.d/99-vtopo.conf"
_NUMBER = re.compile(r"(?:.*:)?[0-9]+(?::.*)?")
_NOTHING = "#cloud-config\n{}\n"
_MERGED = "list(append)+dict(recurse_array)+str()"
"""How a part of user data is joined with those before it (cloud-init's documentation, Merging User-Data Sections)."""


def user_data(said: str, life: Life | None) -> str:
    """`said` is the lab's own user data; what it leaves out is none."""
    own = _config(life) if life is not None else {}
    if not own:
        return said or _NOTHING
    config = "#cloud-config\n" + json.dumps(own, indent=1) + "\n"
    return _parts(said, config) if said else config


def _config(life: Life) -> dict[str, object]:
    files = [*map(_file, life.files), *_settings(life), *_daemons(life)]
    commands = list(_commands(life))
    found: dict[str, object] = {}
    if files:
        found["write_files"] = files
    if commands:
        # The first that fails ends the script that they become, and cloud-init's status tells.
        found["runcmd"] = ["set -e", *commands]
    return found


def _file(file: NodeFile) -> dict[str, object]:
    made: dict[str, object] = {"path": file.path, "content": file.content, "permissions": f"{file.mode:04o}"}
    if file.binary:
        made["encoding"] = "b64"
    if file.owner not in _ROOT and not _NUMBER.fullmatch(file.owner):
        made |= {"owner": file.owner, "defer": True}  # users are made later
    return made


_ROOT = ("0", "0:0", "root", "root:root")


def _settings(life: Life) -> Iterator[dict[str, object]]:
    lines = [f"{setting.key} = {' '.join(setting.value.split())}\n" for setting in life.sysctls]
    if lines:
        yield {"path": _SYSCTLS, "content": "".join(lines), "permissions": "0644"}


def _daemons(life: Life) -> Iterator[dict[str, object]]:
    """For each daemon a script, since it can have any words, and a unit, which keeps it running."""
    for name, words in _kept(life):
        script = f"#!/bin/sh\nexec {shlex.join([*_environment(life), *words])}\n"
        unit = (
            "[Unit]\nAfter=network-online.target\nWants=network-online.target\n\n"
            f"[Service]\nExecStart={_PLACE}/{name}\nRestart=always\nRestartSec=1\n\n"
            "[Install]\nWantedBy=multi-user.target\n"
        )
        yield {"path": f"{_PLACE}/{name}", "content": script, "permissions": "0755"}
        yield {"path": f"/etc/systemd/system/{name}.service", "content": unit, "permissions": "0644"}


def _kept(life: Life) -> list[tuple[str, tuple[str, ...]]]:
    daemons = [command.words for command in life.commands if command.kept]
    return [(f"vtopo-run-{number}", words) for number, words in enumerate(daemons, 1)]


def _commands(life: Life) -> Iterator[Sequence[str]]:
    """Owners by number, which cloud-init does not set; then what runs, in the order of the text."""
    for file in life.files:
        if file.owner not in _ROOT and _NUMBER.fullmatch(file.owner):
            yield ["chown", file.owner, file.path]
    if life.sysctls:
        yield ["sysctl", "-p", _SYSCTLS]
    units = iter(_kept(life))
    for command in life.commands:
        if command.kept:
            name, _ = next(units)
            yield ["systemctl", "enable", "--now", "--no-block", f"{name}.service"]
        else:
            yield [*_environment(life), *command.words]


def _environment(life: Life) -> Sequence[str]:
    return ["env", *(f"{key}={value}" for key, value in life.env)] if life.env else []


def _parts(said: str, config: str) -> str:
    """A mail of two parts (RFC 2046): the lab's own, whose format cloud-init finds out, and what is added to it."""
    digest = sha256(f"{said}\0{config}".encode()).hexdigest()
    boundary = f"vtopo-{digest[:24]}"
    coded = base64.encodebytes(said.encode()).decode()
    return (
        f'Content-Type: multipart/mixed; boundary="{boundary}"\nMIME-Version: 1.0\n\n'
        f'--{boundary}\nContent-Type: text/plain; charset="utf-8"\nContent-Transfer-Encoding: base64\n\n{coded}'
        f'--{boundary}\nContent-Type: text/cloud-config; charset="utf-8"\nMerge-Type: {_MERGED}\n\n{config}'
        f"--{boundary}--\n"
    )
