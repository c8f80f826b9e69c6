"""Texts to tokens where lexing takes repetitions of several characters, and where a separator is a long one."""

import pytest

from vtopo.lang.parser import tokens

PROGRAM = """import sys, socket
def serve(s):  # "quoted" and ""twice""
    print("up", f"{s!r}\\n", '\\\\', "\\"three\\"")
    a = [1, 2]; b = {"a": ""}
"""


def kinds(text: str) -> list[tuple[str, str]]:
    return [(token.type, str(token)) for token in tokens(text)]


@pytest.mark.parametrize(
    "string",
    [
        *(f'"""{inner}"""' for inner in (PROGRAM, "", "a", '""a', "\n\n", "\\\\", 'a"\n"b', '\\"', "#;")),
        *(f'"{inner}"' for inner in ("", "a", '\\"', "\\\\", 'a\\\\\\"b', "# ; {", "${x}", '\\n\\"' * 1000)),
    ],
)
def test_a_string_ends_where_it_ends(string: str) -> None:
    """Python before 3.11.5 gets possessive repetitions of groups wrong, so there are none."""
    kind = "LONG_STRING" if string.startswith('"""') else "STRING"
    found = kinds(f"host a {{ run [{string}, {string}] }}\nhost b")
    assert [token for token in found if "STRING" in token[0]] == [(kind, string)] * 2
    others = [text for k, text in found if "STRING" not in k and k != "_SEP"]
    assert others == ["host", "a", "{", "run", "[", ",", "]", "}", "host", "b"]


@pytest.mark.parametrize("blank", ["\n", ";", "# c\n", " \t\n", "\r\n", " ; # host c\n"])
@pytest.mark.parametrize("many", [1, 999, 1000, 1001, 5000])
def test_a_long_separator_is_one(blank: str, many: int) -> None:
    text = f"host a{blank * many}\nhost b{blank * many}"
    found = list(tokens(text))
    assert [str(t) for t in found if t.type != "_SEP"] == ["host", "a", "host", "b"]
    separators = [t.type for t in found].count("_SEP")
    assert separators == 2, "one between, one at the end"
    b = next(t for t in found if t == "b")
    assert b.line == text[: b.start_pos].count("\n") + 1
    assert text[b.start_pos] == "b"
    assert (b.column, b.end_column) == (6, 7)


@pytest.mark.parametrize("many", [1, 1000, 1001, 3000])
def test_in_brackets_a_long_run_of_line_breaks_is_only_space(many: int) -> None:
    breaks = "\n" * many
    assert kinds(f"host a {{ run [{breaks}1,{breaks}2{breaks}] }}") == kinds("host a { run [1,2] }")
    assert kinds(f"let a = 1 +{breaks}2") == kinds("let a = 1 + 2")
    assert [k for k, _ in kinds(f"let a = [1{breaks};host b")].count("_SEP") == 1, "`;` ends it all the same"
