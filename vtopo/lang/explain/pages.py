"""The pages of `vtopo explain`, one for each diagnostic code, read from the files beside this module."""

from __future__ import annotations

import importlib.resources
import re

from vtopo.values import dataclass

_FORM = re.compile(
    r"# (?P<code>\w+): (?P<title>[^\n]+)\n\n"
    r"(?P<before>.+?)\n\n"
    r"```(?:vlab|yaml) wrong\n(?P<wrong>.+?)```\n\n"
    r"```(?:vlab|yaml) right\n(?P<right>.+?)```\n\n"
    r"(?P<after>.+)\n",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Page:
    """A diagnostic at length: prose before and after the examples, in paragraphs, `## ` headings and `- ` lists."""

    code: str
    title: str
    before: str
    wrong: str
    right: str
    after: str

    @property
    def text(self) -> str:
        """All of its prose."""
        return f"{self.before}\n\n{self.after}"


def page(code: str) -> Page:
    """The page of a key of `CODES`."""
    file = importlib.resources.files(__package__).joinpath(f"{code}.md")
    match = _FORM.fullmatch(file.read_text(encoding="utf-8"))
    assert match is not None, f"{code}.md has another form"
    return Page(**match.groupdict())
