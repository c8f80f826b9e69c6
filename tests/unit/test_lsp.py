"""`vtopo lsp`, by a client that speaks the protocol over its pipes."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import pickle
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lsp_client import ROOT, Client, Refused

from vtopo.editor import checker
from vtopo.editor.jobs import Check, Checked, Failed, Outcome
from vtopo.editor.worker import HEADER

pytest.importorskip("pygls", reason="pygls is not installed")

NUMBERS = itertools.count()
LAB = """host a
host b
bridge lan { subnet 10.0.0.0/24 }
link a:up -- lan
link b -- lan
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Client]:
    with Client() as made:
        yield made
        assert made.leave() == 0
        assert made.errors() == ""


@pytest.fixture
def shared(server: Client) -> Iterator[Client]:
    """A client of a server that others have used before."""
    server.uri = f"file:///lab{next(NUMBERS)}.vlab"
    yield server
    server.close()


@pytest.fixture
def client() -> Iterator[Client]:
    """A client of a server of its own."""
    with Client() as made:
        yield made


def spans(found: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Code, first line, first and last character of diagnostics."""
    return [
        (
            d.get("code"),
            d["range"]["start"]["line"],
            d["range"]["start"]["character"],
            d["range"]["end"]["character"],
        )
        for d in found
    ]


# Diagnostics


def test_errors_come_and_go_while_typing(shared: Client) -> None:
    shared.open("host a\nlink a -- b\n")
    assert spans(shared.found()) == [("E0302", 1, 10, 11)]
    version = shared.change("host a\nhost b\nlink a -- b\n")
    assert shared.found(version=version) == []
    version = shared.change("host a\nhost b\nlink a -- b\nlink a:e\n")
    assert [code for code, *_ in spans(shared.found(version=version))] == ["E0101"]
    shared.close()
    assert shared.found() == []


def test_a_diagnostic_has_all_that_the_command_prints(shared: Client) -> None:
    shared.open("host a\nhost a\n")
    (found, *_) = shared.found()
    assert found["severity"] == 1
    assert found["source"] == "vtopo"
    assert found["code"] == "E0301"
    assert found["message"].startswith("`a` is declared twice\ndeclared again here")
    (related,) = found["relatedInformation"]
    assert related["message"] == "first declared here"
    assert related["location"] == {
        "uri": shared.uri,
        "range": {"start": {"line": 0, "character": 5}, "end": {"line": 0, "character": 6}},
    }


def test_without_related_information_the_message_says_it() -> None:
    with Client(publishDiagnostics={}) as client:
        client.open("host a\nhost a\n")
        found = client.found()[0]
        assert "relatedInformation" not in found
        assert "line 1: first declared here" in found["message"]


def test_warnings_are_warnings(shared: Client) -> None:
    shared.open("template unused { }\nhost a\n")
    assert [(d["code"], d["severity"]) for d in shared.found()] == [("W0602", 2)]


@pytest.mark.parametrize(("encoding", "start"), [(None, 20), ("utf-8", 22), ("utf-16", 20), ("utf-32", 19)])
def test_characters_count_what_was_agreed_on(encoding: str | None, start: int) -> None:
    text = 'host a { exec "😋"; foo 1 }\n'
    with Client(encoding) as client:
        assert client.offered["capabilities"]["positionEncoding"] == (encoding or "utf-16")
        client.open(text)
        found = next(d for d in client.found() if d["code"] == "E0201")
        assert found["range"]["start"]["character"] == start
        assert client.at("hover", 0, start - 6) is not None


def test_files_that_are_used_are_read_and_their_errors_shown_where_they_are(tmp_path: Path) -> None:
    (tmp_path / "rack.vlab").write_text("param n = 1\nhost web\nlink web -- nobody\n")
    uri, rack = (tmp_path / "main.vlab").as_uri(), (tmp_path / "rack.vlab").as_uri()
    with Client() as client:
        client.open('use "rack.vlab" as r\nexpect r.web reaches r.web\n', uri)
        client.found(uri)
        (found,) = client.found(rack)
        assert spans([found]) == [("E0302", 2, 12, 18)]
        # An open file stands for the one on the disk.
        client.open("param n = 1\nhost web\nbridge lan\nlink web -- lan\n", rack)
        client.found(rack)
        client.found(uri)
        client.change('use "rack.vlab" as r\nhost x\nlink x -- r.lan\n', uri)
        assert [d for d in client.found(uri) if d["severity"] == 1] == []
        (place,) = client.at("definition", 2, 12, uri)
        assert (place["uri"], place["range"]["start"]["line"]) == (rack, 2)
        (place,) = client.at("definition", 0, 6, uri)
        assert (place["uri"], place["range"]["start"]["line"]) == (rack, 0)


# Answers


def test_what_is_offered(shared: Client) -> None:
    offered = shared.offered["capabilities"]
    for provider in (
        "hover",
        "definition",
        "references",
        "documentHighlight",
        "documentSymbol",
        "foldingRange",
    ):
        assert offered[f"{provider}Provider"], provider
    assert offered["documentFormattingProvider"]
    assert offered["renameProvider"] == {"prepareProvider": True}
    assert offered["completionProvider"]["triggerCharacters"] == [":", ".", "[", " "]
    assert shared.offered["serverInfo"]["name"] == "vtopo"


def test_hover_completion_definition_references_and_highlights(shared: Client) -> None:
    shared.open(LAB)
    shared.found()
    hover = shared.at("hover", 0, 5)
    assert "up       10.0.0.1/24 -- lan:eth0" in hover["contents"]["value"]
    assert hover["range"] == {"start": {"line": 0, "character": 5}, "end": {"line": 0, "character": 6}}
    offered = shared.at("completion", 4, 6)
    assert [i["label"] for i in offered["items"]] == ["b"]
    assert shared.at("definition", 4, 10)[0]["range"]["start"] == {"line": 2, "character": 7}
    places = shared.at("references", 2, 8, context={"includeDeclaration": True})
    assert [p["range"]["start"]["line"] for p in places] == [2, 3, 4]
    places = shared.at("references", 2, 8, context={"includeDeclaration": False})
    assert [p["range"]["start"]["line"] for p in places] == [3, 4]
    assert len(shared.at("documentHighlight", 2, 8)) == 3
    assert shared.at("hover", 40, 40) is None
    assert shared.at("definition", 0, 1) == []


def test_completion_replaces_the_word_that_was_begun(shared: Client) -> None:
    shared.open(LAB + "link la")
    (item,) = shared.at("completion", 5, 7)["items"]
    assert item["textEdit"] == {
        "range": {"start": {"line": 5, "character": 5}, "end": {"line": 5, "character": 7}},
        "newText": "lan",
    }


def test_rename_changes_all_places_or_says_why_not(shared: Client) -> None:
    shared.open(LAB)
    edits = shared.at("rename", 3, 13, newName="net")["changes"][shared.uri]
    assert [(e["range"]["start"]["line"], e["newText"]) for e in edits] == [
        (2, "net"),
        (3, "net"),
        (4, "net"),
    ]
    assert shared.at("prepareRename", 3, 13)["start"] == {"line": 3, "character": 13}
    with pytest.raises(Refused, match="`a` is a node already on line 1"):
        shared.at("rename", 3, 13, newName="a")
    with pytest.raises(Refused, match="no name"):
        shared.at("prepareRename", 3, 1)


def test_formatting_is_that_of_fmt(shared: Client) -> None:
    text = "host   a\n\n\nhost b{forward true}   # c\nlink a--b\n"
    shared.open(text)
    asked = {"textDocument": {"uri": shared.uri}, "options": {"tabSize": 8, "insertSpaces": False}}
    lines = text.splitlines(keepends=True)
    for edit in shared.ask("textDocument/formatting", asked):
        start, end = edit["range"]["start"], edit["range"]["end"]
        assert (start["character"], end["character"]) == (0, 0)
        lines[start["line"] : end["line"]] = [edit["newText"]]
    done = subprocess.run(
        [sys.executable, "-m", "vtopo", "fmt", "-"],
        input=text,
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    assert "".join(lines) == done.stdout
    shared.change(done.stdout)
    assert shared.ask("textDocument/formatting", asked) == []
    shared.change("host {\n")
    assert shared.ask("textDocument/formatting", asked) is None
    assert any("line 1 does not parse" in line for line in shared.log)


def test_symbols_are_nested_where_the_client_knows_that(shared: Client) -> None:
    text = "host a {\n  bridge br\n}\n"
    shared.open(text)
    (symbol,) = shared.ask("textDocument/documentSymbol", {"textDocument": {"uri": shared.uri}})
    assert (symbol["name"], symbol["detail"], symbol["children"][0]["name"]) == ("a", "host", "br")
    with Client(documentSymbol={}) as other:
        uri = other.open(text)
        found = other.ask("textDocument/documentSymbol", {"textDocument": {"uri": uri}})
        assert [(s["name"], s.get("containerName")) for s in found] == [("a", None), ("br", "a")]


def test_what_was_meant_is_a_quick_fix(shared: Client) -> None:
    shared.open("host router\nhost b\nlink b -- ruoter\n")
    found = shared.found()
    asked = {
        "textDocument": {"uri": shared.uri},
        "range": found[0]["range"],
        "context": {"diagnostics": found},
    }
    (action,) = shared.ask("textDocument/codeAction", asked)
    assert action["title"] == "Change to `router`"
    (edit,) = action["edit"]["changes"][shared.uri]
    assert (edit["newText"], edit["range"]) == ("router", found[0]["range"])


def test_folds(shared: Client) -> None:
    shared.open("host a {\n  forward on\n  bridge br\n}\n")
    folds = shared.ask("textDocument/foldingRange", {"textDocument": {"uri": shared.uri}})
    assert [(f["startLine"], f["endLine"]) for f in folds] == [(0, 2)]


# What is not right


def test_requests_about_files_that_are_not_open_are_refused(shared: Client) -> None:
    with pytest.raises(Refused, match="not open"):
        shared.at("hover", 0, 0, "file:///other.vlab")
    with pytest.raises(Refused):
        shared.ask("textDocument/nothing", {})
    shared.open(LAB)
    assert shared.at("hover", 0, 5) is not None


def test_garbage_does_not_end_it(client: Client) -> None:
    for data in (
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"Content-Length: 7\r\n\r\n{broken",
        b"Content-Length: 2\r\n\r\n[]",
        b"Content-Length: 4\r\n\r\nnull",
        b'Content-Length: 17\r\n\r\n{"jsonrpc":"2.0"}',
        b"Content-Length: 3\r\n\r\n\xff\xfe\xfd",
        b"\r\n\r\n\x00\x01",
        b"\r\n",
    ):
        client.send(data)
    edit = {"textDocument": {"uri": client.uri, "version": 1}, "contentChanges": [{"text": "x"}]}
    for message in (
        {"method": "textDocument/didOpen", "params": {}},
        {"method": "textDocument/didChange", "params": edit},
        {"method": "textDocument/didClose", "params": {"textDocument": {"uri": client.uri}}},
        {"id": 99999, "result": None},
        {"method": "$/cancelRequest", "params": {"id": 12345}},
    ):
        data = json.dumps({"jsonrpc": "2.0", **message}).encode()
        client.send(b"Content-Length: %d\r\n\r\n" % len(data) + data)
    client.open("host a\nlink a -- b\n")
    assert [code for code, *_ in spans(client.found())] == ["E0302"]
    assert client.leave() == 0
    assert client.errors() == ""


def test_texts_that_are_no_labs_are_answered(client: Client) -> None:
    version = 1
    for text in (
        "",
        "\0\1\2",
        "{" * 10_000,
        '"' * 999,
        "host é\n",
        "\r\r\r",
        "host a\r\nlink a -- b\r\n",
        "x" * 100_000,
    ):
        if version == 1:
            client.open(text)
        else:
            client.change(text)
        client.found(version=version)
        client.at("hover", 0, 1)
        client.at("completion", 0, 1)
        client.ask("textDocument/documentSymbol", {"textDocument": {"uri": client.uri}})
        version += 1
    assert client.leave() == 0
    assert client.errors() == ""


@pytest.mark.parametrize("header", [b"Content-Length: 99999999999999999999\r\n\r\n", b"x" * 200_000])
def test_what_is_past_all_bounds_ends_it(client: Client, header: bytes) -> None:
    with contextlib.suppress(BrokenPipeError):  # it may be gone before all of it is sent
        client.send(header)
    assert client.wait() == 1
    assert "Traceback" not in client.errors()


def test_a_closed_pipe_ends_it_and_the_process_beside_it(client: Client) -> None:
    client.open("host a\n")
    client.found()
    (beside,) = children(client.process.pid)
    assert client.process.stdin is not None
    client.process.stdin.close()
    assert client.wait() == 1
    assert client.errors() == ""
    gone(beside)


def test_a_client_that_dies_while_a_check_runs_leaves_nothing(client: Client) -> None:
    client.open("for i in 1..200000 { host h[i] }\n")
    time.sleep(1)
    (beside,) = children(client.process.pid)
    client.process.terminate()
    assert client.wait() != 0
    assert "Traceback" not in client.errors()
    gone(beside)


def test_shutdown_and_exit_are_as_the_protocol_has_them(client: Client) -> None:
    assert client.leave() == 0
    with Client() as other:
        other.tell("exit", None)
        assert other.wait() == 1


def children(pid: int) -> list[int]:
    return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def gone(pid: int) -> None:
    for _ in range(100):
        if not Path(f"/proc/{pid}").exists():
            return
        time.sleep(0.05)
    raise AssertionError(f"{pid} is still there")


# Large files


def test_a_large_file_answers_while_it_is_typed(client: Client) -> None:
    """10,000 statements: each keystroke is answered soon, and only the last text is checked."""
    lines = [f"host h{n} {{ forward on }}\n" for n in range(5000)]
    lines += [f"link h{n} -- h{n + 1}\n" for n in range(4999)]
    client.open("".join(lines))
    place = {"line": 10, "character": 6}
    assert client.ask("textDocument/hover", {"textDocument": {"uri": client.uri}, "position": place}, 60)
    client.found(seconds=120)
    client.checked.clear()
    slowest = 0.0
    for typed in ("f", "fo", "for", "forw"):
        lines[10] = f"host h10 {{ {typed} }}\n"
        version = client.change("".join(lines))
        start = time.monotonic()
        found = client.at("completion", 10, 11 + len(typed))
        slowest = max(slowest, time.monotonic() - start)
        assert "forward" in [item["label"] for item in found["items"]]
    assert "E0201" in [code for code, *_ in spans(client.found(version=version, seconds=120))]
    assert client.checked == [version], "earlier texts are not checked to the end"
    assert slowest < 5, "on an idle machine 0.2 s"


HUGE = Check("huge.vlab", "host h[1..900000]\n", {})
SMALL = Check("small.vlab", "template unused { }\nhost a\n", {})


def test_a_check_that_takes_too_long_is_ended_and_the_next_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    async def both() -> tuple[Outcome, Outcome]:
        made = checker.Checker()
        monkeypatch.setattr(checker, "LONGEST", 0.2)
        first = await made.do("one", HUGE)
        monkeypatch.undo()
        second = await made.do("one", SMALL)
        made.close()
        await asyncio.sleep(0.3)  # till its process has been seen to end
        return first, second

    first, second = asyncio.run(both())
    assert isinstance(first, Failed)
    assert "it takes more than 0 s; `vtopo check` has no such limit" in first.why
    assert isinstance(second, Checked)
    assert [d.code for d in second.diagnostics] == ["W0602"]


def test_a_newer_job_ends_the_older_one_of_its_file() -> None:
    async def both() -> tuple[Outcome | BaseException, Outcome | BaseException]:
        made = checker.Checker()
        older = asyncio.create_task(made.do("one", HUGE))
        await asyncio.sleep(0.5)
        newer = asyncio.create_task(made.do("one", SMALL))
        first, second = await asyncio.gather(older, newer, return_exceptions=True)
        made.close()
        await asyncio.sleep(0.3)  # till its process has been seen to end
        return first, second

    first, second = asyncio.run(both())
    assert isinstance(first, checker.Superseded)
    assert isinstance(second, Checked)


def test_a_job_that_takes_too_much_memory_fails_and_the_next_is_done() -> None:
    code = "from vtopo.editor import worker; worker.MOST_MEMORY = 300_000_000; worker.main()"
    jobs = [pickle.dumps(job) for job in (HUGE, SMALL)]
    given = b"".join(HEADER.pack(len(job)) + job for job in jobs)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, input=given, capture_output=True, check=True
    )
    outcomes = []
    rest = done.stdout
    while rest:
        (length,) = HEADER.unpack(rest[: HEADER.size])
        outcomes.append(pickle.loads(rest[HEADER.size : HEADER.size + length]))
        rest = rest[HEADER.size + length :]
    first, second = outcomes
    assert isinstance(first, Failed)
    assert "more memory" in first.why
    assert isinstance(second, Checked)


# Without pygls


def test_without_pygls_it_says_how_to_get_it() -> None:
    code = (
        "import sys; sys.modules['pygls'] = None; sys.modules['lsprotocol'] = None;"
        "from vtopo.cli.main import run; sys.exit(run(['lsp']))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == "error: `vtopo lsp` needs the package pygls: pip install 'vtopo[lsp]'\n"


def test_a_file_is_nothing_to_speak_over(tmp_path: Path) -> None:
    (tmp_path / "in").write_text("")
    with (tmp_path / "in").open() as given:
        done = subprocess.run(
            [sys.executable, "-m", "vtopo", "lsp"], cwd=ROOT, stdin=given, capture_output=True, text=True
        )
    assert done.returncode == 2
    assert "an editor starts it" in done.stderr
