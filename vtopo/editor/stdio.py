"""Serves one client over pipes: bounded reading of its messages, and an end when it leaves."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import sys
from threading import Event
from typing import BinaryIO

from pygls.io_ import run_async

from vtopo.editor.server import Server, server

MOST_BYTES = 64 * 2**20
"""A message of more bytes ends the connection."""
LONGEST_LINE = 2**16


class Unusable(Exception):
    """Standard input or output is nothing that a client can speak over."""


class _Reader:
    """A client's messages as the loop of pygls reads them; what is past all bounds is the end of the input."""

    def __init__(self, stream: asyncio.StreamReader) -> None:
        self._stream = stream

    async def readline(self) -> bytes:
        try:
            return await self._stream.readline()
        except ValueError:
            return b""

    async def readexactly(self, length: int) -> bytes:
        if length > MOST_BYTES:
            return b""
        try:
            return await self._stream.readexactly(length)
        except asyncio.IncompleteReadError:
            return b""


def serve(given: BinaryIO, back: BinaryIO) -> bool:
    """Answer until the client leaves; whether it said so before. Unusable if these are no pipes."""
    if not os.environ.get("VTOPO_DEBUG"):
        # What a client sends wrong is told to the client.
        logging.getLogger("pygls").setLevel(logging.CRITICAL + 1)
    # What a large file is made of stays: it is looked through for cycles seldom.
    gc.set_threshold(100_000, 20, 100)
    made = server()
    # SystemExit is the client's `exit`, by way of pygls.
    with contextlib.suppress(SystemExit):
        asyncio.run(_serve(made, given, back))
    return made.leaving


async def _serve(made: Server, given: BinaryIO, back: BinaryIO) -> None:
    loop = asyncio.get_running_loop()
    stream = asyncio.StreamReader(limit=LONGEST_LINE)
    try:
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stream), given)
        transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, back)
    except ValueError as e:
        raise Unusable(str(e)) from e
    writer = asyncio.StreamWriter(transport, protocol, None, loop)
    made.protocol.set_writer(writer)
    sys.stdout = sys.stderr
    try:
        await run_async(
            stop_event=Event(),
            reader=_Reader(stream),
            protocol=made.protocol,
            error_handler=made.report_server_error,
        )
    finally:
        made.checker.close()
