"""Colours in editors: the files are what the grammar and the schema make of them, and they colour the labs right."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vtopo.editor.highlighting import property_names, statement_words, textmate, vim
from vtopo.lang.format_tree import lex
from vtopo.lang.grammar import grammar_text
from vtopo.model.schema import KIND_PLACES

ROOT = Path(__file__).parents[2]
VSCODE = ROOT / "editors/vscode"
FILES = {VSCODE / "syntaxes/vlab.tmLanguage.json": textmate, ROOT / "editors/vim/syntax/vlab.vim": vim}
LABS = sorted((ROOT / "labs").glob("*.vlab"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_files_are_up_to_date(path: Path, request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--rewrite-golden"):
        path.write_text(FILES[path](), encoding="utf-8")
    assert path.read_text(encoding="utf-8") == FILES[path](), "`make golden` makes it anew"


def test_every_word_of_the_grammar_has_a_colour() -> None:
    keywords = set(re.findall(r'^[A-Z]+: "([a-z]+)"$', grammar_text(), re.MULTILINE))
    for word in keywords:
        assert re.search(rf"\b{word}\b", textmate()), word
    assert keywords >= {*KIND_PLACES, *statement_words()}


def test_the_json_files_are_json() -> None:
    for path in VSCODE.rglob("*.json"):
        if "node_modules" not in path.parts:
            json.loads(path.read_text(encoding="utf-8"))
    package = json.loads((VSCODE / "package.json").read_text(encoding="utf-8"))
    contributed = package["contributes"]
    for named in (
        package["main"],
        contributed["grammars"][0]["path"],
        contributed["languages"][0]["configuration"],
    ):
        assert (VSCODE / named).is_file()
    assert contributed["grammars"][0]["scopeName"] == json.loads(textmate())["scopeName"]
    assert contributed["configuration"]["properties"]["vlab.server.command"]["default"] == ["vtopo", "lsp"]


# A TextMate grammar is read line by line: at each place the rule that matches first, of those the earlier one.


class Colours:
    """What a TextMate grammar says of a text: (piece, scope) for all that has one."""

    def __init__(self) -> None:
        self._repository: dict[str, Any] = json.loads(textmate())["repository"]
        self._patterns = json.loads(textmate())["patterns"]

    def of(self, text: str) -> Iterator[tuple[str, str]]:
        stack: list[dict[str, Any]] = []
        for line in text.split("\n"):
            at = 0
            while at <= len(line):
                found = self._first(stack, line, at)
                if found is None:
                    break
                match, rule, ends = found
                scope = "".join(r.get("name", "") for r in stack[-1:])
                if scope and line[at : match.start()].strip():
                    yield line[at : match.start()], scope
                if ends:
                    yield match[0], stack.pop().get("name", "")
                else:
                    yield from self._pieces(match, rule)
                    if "begin" in rule:
                        stack.append(rule)
                at = match.end() if match.end() > at else at + 1
            if stack and line[at:].strip():
                yield line[at:], stack[-1].get("name", "")

    def _first(
        self, stack: list[dict[str, Any]], line: str, at: int
    ) -> tuple[re.Match[str], dict[str, Any], bool] | None:
        best: tuple[re.Match[str], dict[str, Any], bool] | None = None
        rules = [(stack[-1]["end"], stack[-1], True)] if stack else []
        rules += [
            (r.get("match") or r["begin"], r, False)
            for r in self._rules(stack[-1]["patterns"] if stack else self._patterns)
        ]
        for pattern, rule, ends in rules:
            match = re.compile(pattern).search(line, at)
            if match is not None and (best is None or match.start() < best[0].start()):
                best = (match, rule, ends)
        return best

    def _rules(self, patterns: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for each in patterns:
            if "include" in each:
                included = self._repository[each["include"].removeprefix("#")]
                yield from (
                    self._rules(included["patterns"])
                    if "match" not in included and "begin" not in included
                    else [included]
                )
            else:
                yield each

    @staticmethod
    def _pieces(match: re.Match[str], rule: dict[str, Any]) -> Iterator[tuple[str, str]]:
        if "name" in rule:
            yield match[0].strip(), rule["name"]
        for number, capture in rule.get("captures", {}).items():
            yield match[int(number)], capture["name"]


@pytest.mark.parametrize("path", LABS, ids=lambda path: path.name)
def test_the_labs_are_coloured_as_the_language_reads_them(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    colours = list(Colours().of(text))
    scopes: dict[str, set[str]] = {}
    for piece, scope in colours:
        scopes.setdefault(piece, set()).add(scope)
    starts = True
    for token in lex(text).tokens:
        if token.type == "_SEP" or token in {"{", "}"}:
            starts = True
            continue
        if starts and str(token) in KIND_PLACES:
            assert "storage.type.vlab" in scopes[str(token)], token
        elif starts and str(token) in statement_words():
            assert "keyword.control.vlab" in scopes[str(token)], token
        elif starts and str(token) in property_names():
            assert "support.type.property-name.vlab" in scopes[str(token)], token
        elif token.type in {"IPV4", "IPV6", "MAC"}:
            assert f"constant.numeric.{token.type.lower()}.vlab" in scopes[str(token)], token
        elif token.type in {"ON", "OFF"}:
            assert scopes[str(token)] & {"constant.language.vlab"}, token
        starts = False
    assert sum(scope.startswith("comment") for _, scope in colours) == len(
        re.findall(r"(?m)#.*$", re.sub(r'"[^"\n]*"', "", text))
    )


@pytest.mark.parametrize(
    ("text", "piece", "scope"),
    [
        ("host a { memory 64MiB }", "MiB", "keyword.other.unit.vlab"),
        ("host a { memory 64MiB }", "memory", "support.type.property-name.vlab"),
        ("host a { memroy 64MiB }", "memroy", None),
        ("host host-a", "host-a", "entity.name.type.vlab"),
        ("default host { forward on }", "host", "storage.type.vlab"),
        ('run "a ${len(x)} \\n # no"', "len", "support.function.vlab"),
        ('run "a # no"', "# no", None),
        ("link a--b # yes", "# yes", "comment.line.number-sign.vlab"),
        ('run """\nlink a -- b\n"""', "link a -- b", "string.quoted.triple.vlab"),
        ("if a { } else if b { }", "else if", "keyword.control.vlab"),
        ("route default via 10.0.0.1", "via", "support.constant.vlab"),
        ("link a 2001:db8::1/64 -- b", "2001:db8::1/64", "constant.numeric.ipv6.vlab"),
        ('run "not closed\nhost a', "host", "storage.type.vlab"),
        ("expect not a reaches b within 5s", "within", "keyword.operator.word.vlab"),
    ],
)
def test_the_colour_of_a_piece(text: str, piece: str, scope: str | None) -> None:
    found = [s for p, s in Colours().of(text) if p == piece]
    assert (scope in found) if scope is not None else not found


@pytest.mark.skipif(not shutil.which("vim"), reason="vim is not installed")
def test_vim_colours_and_formats(tmp_path: Path) -> None:
    lab = tmp_path / "a.vlab"
    lab.write_text('host a { memory 64MiB } # c\nlink a:eth0 10.0.0.1/24 -- b\nrun "x ${n}"\n')
    places = [(1, 1), (1, 10), (1, 17), (1, 26), (2, 1), (2, 13), (3, 6)]
    names = ",".join(f'synIDattr(synID({line},{column},1),"name")' for line, column in places)
    script = tmp_path / "try.vim"
    script.write_text(
        f"set runtimepath^={ROOT}/editors/vim\nfiletype plugin on\nsyntax on\nedit {lab}\n"
        f"call writefile([{names}, &filetype, &formatprg], '{tmp_path}/out')\nqall!\n"
    )
    command = ["vim", "-u", "NONE", "-i", "NONE", "-n", "-es", "-S", str(script)]
    subprocess.run(command, check=False, timeout=20, stdin=subprocess.DEVNULL)
    if not (tmp_path / "out").exists():
        pytest.skip("this vim has no syntax colouring")
    assert (tmp_path / "out").read_text().split("\n")[:-1] == [
        *(
            "vlabKind",
            "vlabProperty",
            "vlabNumber",
            "vlabComment",
            "vlabStatement",
            "vlabAddress",
            "vlabString",
        ),
        *("vlab", "vtopo fmt -"),
    ]
