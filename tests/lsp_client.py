"""A client of the language server: starts `vtopo lsp` and speaks the protocol over its standard input and output."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SECONDS = 20


class Refused(Exception):
    """An error that came back in place of a result."""


class Client:
    """One server and its documents; `encoding` is what is asked for, None to ask for nothing."""

    def __init__(self, encoding: str | None = None, folder: Path = ROOT, **capabilities: Any) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "vtopo", "lsp"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            env=environment,
        )
        self.uri = "file:///lab.vlab"
        """The document that is meant where none is named."""
        self._ids = itertools.count(1)
        self._answers: dict[int, queue.Queue[dict[str, Any]]] = {}
        self._told: queue.Queue[dict[str, Any]] = queue.Queue()
        self.log: list[str] = []
        self.checked: list[int | None] = []
        """The versions that diagnostics were of."""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        general = {"positionEncodings": [encoding]} if encoding else {}
        text = {
            "publishDiagnostics": {"relatedInformation": True},
            "rename": {"prepareSupport": True},
            "documentSymbol": {"hierarchicalDocumentSymbolSupport": True},
        }
        asked = {"general": general, "textDocument": {**text, **capabilities}}
        self.offered = self.ask("initialize", {"processId": None, "rootUri": None, "capabilities": asked})
        self.tell("initialized", {})
        self._versions = itertools.count(1)

    # Messages

    def send(self, data: bytes) -> None:
        """Bytes as they are."""
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def _message(self, **message: Any) -> None:
        data = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self.send(b"Content-Length: %d\r\n\r\n" % len(data) + data)

    def tell(self, method: str, params: Any) -> None:
        """A notification."""
        self._message(method=method, params=params)

    def begin(self, method: str, params: Any) -> int:
        """A request whose answer is taken later."""
        number = next(self._ids)
        self._answers[number] = queue.Queue()
        self._message(id=number, method=method, params=params)
        return number

    def answer(self, number: int, seconds: float = SECONDS) -> Any:
        """The result of a request; Refused if it is an error."""
        answer = self._answers[number].get(timeout=seconds)
        if "error" in answer:
            raise Refused(answer["error"]["message"])
        return answer["result"]

    def ask(self, method: str, params: Any, seconds: float = SECONDS) -> Any:
        """A request and its result."""
        return self.answer(self.begin(method, params), seconds)

    def _read(self) -> None:
        out = self.process.stdout
        assert out is not None
        while header := out.readline():
            length = int(header.partition(b":")[2]) if header.startswith(b"Content-Length") else 0
            while header.strip():
                header = out.readline()
            message = json.loads(out.read(length))
            if "method" not in message:
                self._answers[message["id"]].put(message)
            elif message["method"] == "window/logMessage":
                self.log.append(message["params"]["message"])
            else:
                self._told.put(message)

    # Documents

    def open(self, text: str, uri: str | None = None) -> str:
        """Open a document with this text."""
        uri = uri or self.uri
        item = {"uri": uri, "languageId": "vlab", "version": next(self._versions), "text": text}
        self.tell("textDocument/didOpen", {"textDocument": item})
        return uri

    def change(self, text: str, uri: str | None = None) -> int:
        """Another text of an open document; its version."""
        version = next(self._versions)
        document = {"uri": uri or self.uri, "version": version}
        self.tell("textDocument/didChange", {"textDocument": document, "contentChanges": [{"text": text}]})
        return version

    def close(self, uri: str | None = None) -> None:
        """Close a document."""
        self.tell("textDocument/didClose", {"textDocument": {"uri": uri or self.uri}})

    def found(
        self, uri: str | None = None, version: int | None = None, seconds: float = SECONDS
    ) -> list[dict[str, Any]]:
        """The next diagnostics of a document, of this version if one is given."""
        end = time.monotonic() + seconds
        while True:
            message = self._told.get(timeout=max(0.01, end - time.monotonic()))
            params = message["params"]
            if message["method"] != "textDocument/publishDiagnostics" or params["uri"] != (uri or self.uri):
                continue
            self.checked.append(params.get("version"))
            if version is None or params.get("version") == version:
                found: list[dict[str, Any]] = params["diagnostics"]
                return found

    def at(self, what: str, line: int, character: int, uri: str | None = None, **more: Any) -> Any:
        """The result of a request about a position."""
        position = {"line": line, "character": character}
        return self.ask(
            f"textDocument/{what}", {"textDocument": {"uri": uri or self.uri}, "position": position, **more}
        )

    # The end

    def leave(self) -> int:
        """Shut the server down as the protocol has it; its exit status."""
        self.ask("shutdown", None)
        self.tell("exit", None)
        return self.wait()

    def wait(self, seconds: float = SECONDS) -> int:
        """The server's exit status."""
        status = self.process.wait(timeout=seconds)
        self._reader.join(timeout=seconds)
        return status

    def errors(self) -> str:
        """What it wrote to standard error, once it has ended."""
        assert self.process.stderr is not None
        return self.process.stderr.read().decode()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):  # what was buffered for a server that has ended
                    stream.close()
