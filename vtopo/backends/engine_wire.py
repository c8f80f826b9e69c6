"""Requests to a Docker engine on its socket, by hand: the library takes longer to load than an engine to answer.

The supervisor makes such requests, too, and is to stay small.
"""

# Few and plain imports: what is loaded here stays in memory as long as the lab.

from __future__ import annotations

import json
import socket
from typing import Any

PATIENCE = 60.0
"""Seconds that the engine may take for an answer."""


class EngineError(OSError):
    """The engine refuses; the text says why."""


def ask(path: str, method: str, target: str, body: object = None, patience: float = PATIENCE) -> Any:
    """The answer to one request, as JSON values; OSError if the engine refuses or cannot be reached."""
    answer = read(path, method, target, body, patience)
    return json.loads(answer) if answer.strip() else None


def read(path: str, method: str, target: str, body: object = None, patience: float = PATIENCE) -> bytes:
    """The answer to one request, as it is."""
    wire, start = send(path, method, target, body, patience)
    with wire:
        return start + b"".join(iter(lambda: wire.recv(1 << 16), b""))


def send(
    path: str, method: str, target: str, body: object = None, patience: float = PATIENCE
) -> tuple[socket.socket, bytes]:
    """Make a request; the connection, and what of its answer's body has come already."""
    data = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {target} HTTP/1.0\r\nHost: docker\r\nContent-Type: application/json\r\n"
    wire = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        wire.settimeout(patience)
        wire.connect(path)
        wire.sendall(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
        answer = b""
        while b"\r\n\r\n" not in answer:
            part = wire.recv(1 << 16)
            if not part:
                raise EngineError(None, "the engine hung up")
            answer += part
        head_, _, rest = answer.partition(b"\r\n\r\n")
        status = int(head_.split(None, 2)[1])
        if status >= 400:
            rest += b"".join(iter(lambda: wire.recv(1 << 16), b""))
            raise EngineError(status, _message(rest))
    except BaseException:
        wire.close()
        raise
    return wire, rest


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace").strip()
