"""A registry on loopback that has one image, `bb:1`, as the Registry API v2 gives it (distribution/spec)."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_TYPE = "application/vnd.docker.distribution.manifest.v2+json"


@contextlib.contextmanager
def registry(root: bytes) -> Iterator[str]:
    """Serve the files of a tar archive as an image; the registry's address."""
    layer = gzip.compress(root, 1)
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": ["sh"], "Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [_digest(root)]},
        }
    ).encode()
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": _TYPE,
            "config": _describe("application/vnd.docker.container.image.v1+json", config),
            "layers": [_describe("application/vnd.docker.image.rootfs.diff.tar.gzip", layer)],
        }
    ).encode()
    found = {
        "/v2/": (b"{}", "application/json"),
        "/v2/bb/manifests/1": (manifest, _TYPE),
        f"/v2/bb/manifests/{_digest(manifest)}": (manifest, _TYPE),
        **{f"/v2/bb/blobs/{_digest(blob)}": (blob, "application/octet-stream") for blob in (config, layer)},
    }

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body, kind = found.get(
                self.path, (b'{"errors": [{"code": "MANIFEST_UNKNOWN"}]}', "application/json")
            )
            self.send_response(200 if self.path in found else 404)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Docker-Content-Digest", _digest(body))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _describe(kind: str, data: bytes) -> dict[str, object]:
    return {"mediaType": kind, "size": len(data), "digest": _digest(data)}
