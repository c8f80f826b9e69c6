"""The language server: takes a client's requests to the modules of this folder, and their answers back."""

from __future__ import annotations

import asyncio
import functools
import posixpath
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from lsprotocol import types
from pygls.exceptions import FeatureRequestError, JsonRpcException, JsonRpcInvalidParams
from pygls.lsp.server import LanguageServer
from pygls.uris import from_fs_path, to_fs_path

from vtopo import __version__
from vtopo.editor import convert
from vtopo.editor.checker import Checker, Superseded
from vtopo.editor.completion import Sources, complete
from vtopo.editor.document import Document, Files
from vtopo.editor.facts import Role
from vtopo.editor.hover import hover
from vtopo.editor.index import Index, Occurrence
from vtopo.editor.jobs import Check, Checked, Failed, Format, Formatted
from vtopo.editor.outline import folds, outline
from vtopo.editor.rename import Refused, renamable, rename
from vtopo.editor.text import Text
from vtopo.lang.diagnostics import Diagnostic
from vtopo.lang.source import Range

PAUSE = 0.15
"""Seconds without an edit after which a text is checked."""


class _Positioned(Protocol):
    """A request about a place."""

    @property
    def text_document(self) -> types.TextDocumentIdentifier: ...
    @property
    def position(self) -> types.Position: ...


class Server(LanguageServer):
    """The open files, and the process that checks them."""

    def __init__(self) -> None:
        super().__init__("vtopo", __version__, text_document_sync_kind=types.TextDocumentSyncKind.Full)
        self.documents: dict[str, Document] = {}
        self.checker = Checker()
        self.leaving = False
        """Whether the client asked for the end."""
        self._timers: dict[str, asyncio.Task[None]] = {}

    def report_server_error(self, error: BaseException, source: Any) -> None:
        """Into the client's log, unless it is the answer of a request: no reason to interrupt its user."""
        if source is FeatureRequestError:
            return
        self.window_log_message(types.LogMessageParams(types.MessageType.Error, f"vtopo: {error}"))

    @functools.cached_property
    def files(self) -> Files:
        """The files of the disk that open ones use."""
        return Files(self._encoding)

    @property
    def _encoding(self) -> str:
        """What a client's characters count, as was agreed on."""
        return types.PositionEncodingKind(self.workspace.position_encoding or "utf-16").value

    # Open files

    def put(self, uri: str, version: int | None) -> Document:
        """Take over the text that a client sent, and have it checked."""
        text = self.workspace.get_text_document(uri).source
        known = self.documents.get(uri)
        if known is None:
            path = to_fs_path(uri) or uri
            known = self.documents[uri] = Document(uri, path, text, version, self._encoding)
        else:
            known.change(text, version)
        self.check_soon(known)
        return known

    def drop(self, uri: str) -> None:
        """Forget a file that was closed."""
        document = self.documents.pop(uri, None)
        if document is None:
            return
        if (timer := self._timers.pop(uri, None)) is not None:
            timer.cancel()
        self.checker.supersede(uri)
        open_uris = {d.uri for d in self.documents.values()}
        for shown in {uri, *(document.published - open_uris)}:
            self._publish(shown, [], None)

    def document(self, uri: str) -> Document:
        """An open file."""
        if uri not in self.documents:
            raise JsonRpcInvalidParams(f"{uri} is not open")
        return self.documents[uri]

    def used(self, document: Document, path: str) -> tuple[str, Text, Index] | None:
        """A file that an open one uses by a path: its own path, its text if it is open or on the disk, its names."""
        full = posixpath.normpath(posixpath.join(posixpath.dirname(document.path), path))
        for other in self.documents.values():
            if other.path == full:
                return full, other.text, other.names()
        found = self.files.read(full)
        return (full, *found) if found is not None else None

    # Checks

    def check_soon(self, document: Document) -> None:
        """Check a file once no edit has come for a while; what is under way for it is of no use any more."""
        if (timer := self._timers.get(document.uri)) is not None:
            timer.cancel()
        self.checker.supersede(document.uri)
        timer = self._timers[document.uri] = asyncio.ensure_future(self._check(document))
        timer.add_done_callback(self._checked)

    def check_readers(self, path: str) -> None:
        """Check the open files that use another one."""
        for document in self.documents.values():
            if path in document.reads:
                self.check_soon(document)

    def _checked(self, timer: asyncio.Task[None]) -> None:
        """A fault of ours in showing what a check found is said, not swallowed."""
        if not timer.cancelled() and (error := timer.exception()) is not None:
            self.report_server_error(error, type(error))

    async def _check(self, document: Document) -> None:
        await asyncio.sleep(PAUSE)
        version, text = document.version, document.text
        others = {d.path: d.text.text for d in self.documents.values() if d is not document}
        try:
            outcome = await self.checker.do(document.uri, Check(document.path, text.text, others))
        except Superseded:
            return
        if text is not document.text or document.uri not in self.documents:
            return
        if isinstance(outcome, Failed):
            document.found = ()
            self._publish(document.uri, [convert.remark(f"not checked: {outcome.why}")], version)
        elif isinstance(outcome, Checked):
            self._show(document, outcome, version)

    def _show(self, document: Document, outcome: Checked, version: int | None) -> None:
        document.lab = outcome.lab or document.lab
        document.found = tuple(d for d in outcome.diagnostics if d.range.path == document.path)
        document.reads = frozenset(outcome.paths) - {document.path}
        shown = self._as_shown(document, document.found, document.text)
        if outcome.dropped:
            shown.append(convert.remark(f"and {outcome.dropped} more, which are not shown"))
        self._publish(document.uri, shown, version)
        elsewhere = {d.range.path for d in outcome.diagnostics} - {document.path}
        open_paths = {d.path for d in self.documents.values()}
        published = set()
        for path in elsewhere - open_paths:
            uri, read = from_fs_path(path), self.files.read(path)
            if uri is not None and read is not None:
                found = [d for d in outcome.diagnostics if d.range.path == path]
                self._publish(uri, self._as_shown(document, found, read[0]), None)
                published.add(uri)
        for uri in document.published - published:
            if to_fs_path(uri) not in open_paths:
                self._publish(uri, [], None)
        document.published = frozenset(published)

    def _as_shown(
        self, document: Document, found: Iterable[Diagnostic], text: Text
    ) -> list[types.Diagnostic]:
        capabilities = self.client_capabilities.text_document
        publish = capabilities.publish_diagnostics if capabilities is not None else None
        related = bool(publish is not None and publish.related_information)
        return [
            convert.diagnostic(d, text, lambda place: self.location(document, place), related) for d in found
        ]

    def location(self, document: Document, place: Range) -> types.Location | None:
        """Where a range is, in this file or in one that it uses."""
        if place.path == document.path:
            return types.Location(document.uri, convert.range_of(document.text, place))
        uri, read = from_fs_path(place.path), self.files.read(place.path)
        if uri is None or read is None:
            return None
        return types.Location(uri, convert.range_of(read[0], place))

    def _publish(self, uri: str, found: list[types.Diagnostic], version: int | None) -> None:
        self.text_document_publish_diagnostics(types.PublishDiagnosticsParams(uri, found, version))


def server() -> Server:
    """A server with all that it offers."""
    made = Server()
    _follow(made)
    _answer_about_names(made)
    _answer_about_texts(made)
    return made


def _follow(server: Server) -> None:
    """What a client tells."""

    @server.feature(types.TEXT_DOCUMENT_DID_OPEN)
    def opened(params: types.DidOpenTextDocumentParams) -> None:
        document = server.put(params.text_document.uri, params.text_document.version)
        server.check_readers(document.path)

    @server.feature(types.TEXT_DOCUMENT_DID_CHANGE)
    def changed(params: types.DidChangeTextDocumentParams) -> None:
        document = server.put(params.text_document.uri, params.text_document.version)
        server.check_readers(document.path)

    @server.feature(types.TEXT_DOCUMENT_DID_SAVE)
    def saved(params: types.DidSaveTextDocumentParams) -> None:
        server.check_readers(to_fs_path(params.text_document.uri) or "")

    @server.feature(types.TEXT_DOCUMENT_DID_CLOSE)
    def closed(params: types.DidCloseTextDocumentParams) -> None:
        server.drop(params.text_document.uri)
        server.check_readers(to_fs_path(params.text_document.uri) or "")

    @server.feature(types.SHUTDOWN)
    def leaving(_params: None) -> None:
        server.leaving = True
        server.checker.close()


def _answer_about_names(server: Server) -> None:
    """Where names are, and what they are."""

    async def named(
        params: _Positioned,
    ) -> tuple[Document, Index, Occurrence | None, tuple[int, int]]:
        document = server.document(params.text_document.uri)
        index = await document.index()
        place = document.text.place(convert.offset(document.text, params.position))
        return document, index, index.at(*place), place

    @server.feature(types.TEXT_DOCUMENT_HOVER)
    async def hovered(params: types.HoverParams) -> types.Hover | None:
        document = server.document(params.text_document.uri)
        index = await document.index()
        at = convert.offset(document.text, params.position)
        found = hover(document.text, at, index, document.lab, document.found)
        if found is None:
            return None
        content = types.MarkupContent(types.MarkupKind.Markdown, found.markdown)
        return types.Hover(content, convert.span(document.text, found.start, found.end))

    @server.feature(types.TEXT_DOCUMENT_DEFINITION)
    async def defined(params: types.DefinitionParams) -> list[types.Location]:
        document, index, found, place = await named(params)
        if found is not None:
            own = [o.range for o in index.declarations(found.symbol)]
            if own:
                return [types.Location(document.uri, convert.range_of(document.text, r)) for r in own]
            return list(_elsewhere(server, document, index, found))
        return list(_used_file(server, document, index, place))

    @server.feature(types.TEXT_DOCUMENT_REFERENCES)
    async def referred(params: types.ReferenceParams) -> list[types.Location]:
        document, index, found, _ = await named(params)
        occurrences = index.occurrences(found.symbol) if found is not None else []
        if not params.context.include_declaration:
            occurrences = [o for o in occurrences if o.declaration is None]
        return [types.Location(document.uri, convert.range_of(document.text, o.range)) for o in occurrences]

    @server.feature(types.TEXT_DOCUMENT_DOCUMENT_HIGHLIGHT)
    async def highlighted(params: types.DocumentHighlightParams) -> list[types.DocumentHighlight]:
        document, index, found, _ = await named(params)
        occurrences = index.occurrences(found.symbol) if found is not None else []
        return [types.DocumentHighlight(convert.range_of(document.text, o.range)) for o in occurrences]

    @server.feature(types.TEXT_DOCUMENT_PREPARE_RENAME)
    async def prepared(params: types.PrepareRenameParams) -> types.Range:
        document, index, _, place = await named(params)
        found = renamable(index, *place)
        if isinstance(found, Refused):
            raise _refused(found.why)
        return convert.range_of(document.text, found.range)

    @server.feature(types.TEXT_DOCUMENT_RENAME, types.RenameOptions(prepare_provider=True))
    async def renamed(params: types.RenameParams) -> types.WorkspaceEdit:
        document, index, _, place = await named(params)
        found = renamable(index, *place)
        if isinstance(found, Refused):
            raise _refused(found.why)
        places = rename(index, document.text, found.symbol, params.new_name)
        if isinstance(places, Refused):
            raise _refused(places.why)
        edits = [types.TextEdit(convert.range_of(document.text, place), params.new_name) for place in places]
        return types.WorkspaceEdit(changes={document.uri: edits})


def _answer_about_texts(server: Server) -> None:
    """What can be written, and how the text is laid out."""

    @server.feature(
        types.TEXT_DOCUMENT_COMPLETION, types.CompletionOptions(trigger_characters=[":", ".", "[", " "])
    )
    async def completed(params: types.CompletionParams) -> types.CompletionList:
        document = server.document(params.text_document.uri)
        at = convert.offset(document.text, params.position)
        around = await document.context(at)

        def file(path: str) -> Index | None:
            used = server.used(document, path)
            return used[2] if used is not None else None

        items = complete(around, Sources(await document.index(), document.lab, file))
        where = convert.span(document.text, at - len(around.prefix), at)
        return convert.completions(items, around.prefix, where)

    @server.feature(types.TEXT_DOCUMENT_DOCUMENT_SYMBOL)
    async def outlined(
        params: types.DocumentSymbolParams,
    ) -> list[types.DocumentSymbol] | list[types.SymbolInformation]:
        document = server.document(params.text_document.uri)
        entries = outline(await document.index(), document.text)
        capabilities = server.client_capabilities.text_document
        known = capabilities.document_symbol if capabilities is not None else None
        if known is not None and known.hierarchical_document_symbol_support:
            return convert.symbols(entries, document.text)
        return list(convert.flat_symbols(entries, document.text, document.uri))

    @server.feature(types.TEXT_DOCUMENT_FOLDING_RANGE)
    async def folded(params: types.FoldingRangeParams) -> list[types.FoldingRange]:
        index = await server.document(params.text_document.uri).index()
        return [types.FoldingRange(first - 1, last - 1) for first, last in folds(index.blocks())]

    @server.feature(types.TEXT_DOCUMENT_FORMATTING)
    async def formatted(params: types.DocumentFormattingParams) -> list[types.TextEdit] | None:
        document = server.document(params.text_document.uri)
        text = document.text
        try:
            outcome = await server.checker.do(("format", document.uri), Format(document.path, text.text))
        except Superseded:
            return None
        if isinstance(outcome, Formatted) and outcome.text is not None and text is document.text:
            return convert.edits(text, outcome.text)
        why = outcome.why if isinstance(outcome, Formatted | Failed) else ""
        message = f"{document.path} is not formatted: {why or 'it was edited meanwhile'}"
        server.window_log_message(types.LogMessageParams(types.MessageType.Info, message))
        return None

    @server.feature(types.TEXT_DOCUMENT_CODE_ACTION, types.CodeActionOptions([types.CodeActionKind.QuickFix]))
    def mended(params: types.CodeActionParams) -> list[types.CodeAction]:
        document = server.document(params.text_document.uri)
        wanted = {(d.code, d.range.start.line, d.range.start.character) for d in params.context.diagnostics}
        return list(_fixes(document, wanted))


def _fixes(document: Document, wanted: set[tuple[Any, int, int]]) -> Iterator[types.CodeAction]:
    """A change to what a diagnostic says was meant."""
    for found in document.found:
        where = convert.range_of(document.text, found.range)
        meant = convert.suggestion(found)
        if meant is None or (found.code, where.start.line, where.start.character) not in wanted:
            continue
        edit = types.WorkspaceEdit(changes={document.uri: [types.TextEdit(where, meant)]})
        yield types.CodeAction(
            f"Change to `{meant}`", kind=types.CodeActionKind.QuickFix, edit=edit, is_preferred=True
        )


def _elsewhere(
    server: Server, document: Document, index: Index, found: Occurrence
) -> Iterator[types.Location]:
    """Where a module's node, or a library's template or variable, is declared."""
    symbol = found.symbol
    for file, _ in index.files():
        module = bool(file.name) and symbol.owner[:1] == (file.name,)
        if not module and (file.name or symbol.role is not Role.TEMPLATE):
            continue
        used = server.used(document, file.path)
        if used is None:
            continue
        path, text, names = used
        uri = from_fs_path(path)
        declared = names.named(Role.TEMPLATE) if not module else names.visible(symbol.owner[1:])
        if uri is not None and symbol.name in declared:
            for occurrence in names.all():
                if occurrence.declaration is declared[symbol.name]:
                    yield types.Location(uri, convert.range_of(text, occurrence.range))


def _used_file(
    server: Server, document: Document, index: Index, place: tuple[int, int]
) -> Iterator[types.Location]:
    """The file whose path stands here."""
    for file, where in index.files():
        if (where.line, where.column) <= place <= (where.end_line, where.end_column):
            used = server.used(document, file.path)
            uri = from_fs_path(used[0]) if used is not None else None
            if uri is not None:
                start = types.Position(0, 0)
                yield types.Location(uri, types.Range(start, start))


def _refused(why: str) -> JsonRpcException:
    return JsonRpcException(why, types.LSPErrorCodes.RequestFailed.value)
