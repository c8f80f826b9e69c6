"""Dot to a picture, by Graphviz' own program where it is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import graphviz

FORMATS = ("svg", "png", "pdf", "dot")


class RenderError(Exception):
    """The picture cannot be made; the text says what to do."""


def render(drawing: graphviz.Graph, format: str) -> bytes:
    """The drawing as `format`, one of `FORMATS`; dot needs no program."""
    import graphviz

    if format == "dot":
        source: str = drawing.source
        return source.encode()
    try:
        picture: bytes = drawing.pipe(format=format, encoding=None)
    except graphviz.ExecutableNotFound as e:
        raise RenderError(
            f"the `dot` program draws {format} and is not installed; "
            "install Graphviz (Debian, Ubuntu: apt install graphviz), or ask for .dot"
        ) from e
    except graphviz.CalledProcessError as e:
        raise RenderError(f"`dot` failed: {e}") from e
    return picture
