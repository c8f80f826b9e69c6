"""Completion in shells: what the words of each command may be, and the scripts that ask for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
)

from vtopo.cli.main import COMPLETING

# Each is click's own script and one more type of answer, `labs`: lab files, and folders that may have some.
_LABS = {
    "bash": (
        "        elif [[ $type == 'plain' ]]; then\n",
        "        elif [[ $type == 'labs' ]]; then\n"
        "            compopt -o filenames\n"
        "            mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -f -X '!*.vlab' -- \"$value\")\n"
        '            mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -d -- "$value")\n',
    ),
    "zsh": (
        '        elif [[ "$type" == "dir" ]]; then\n',
        '        elif [[ "$type" == "labs" ]]; then\n            _files -g "*.vlab"\n',
    ),
    "fish": (
        '        else if test $metadata[1] = "plain";\n',
        '        else if test $metadata[1] = "labs";\n'
        "            __fish_complete_directories $metadata[2];\n"
        "            for file in $metadata[2]*.vlab; echo $file; end;\n",
    ),
}
_CLASSES: dict[str, type[ShellComplete]] = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}
SHELLS = tuple(_CLASSES)


def script(shell: str, cli: click.Command) -> str:
    """The script that a shell is to read."""
    place, more = _LABS[shell]
    made = _CLASSES[shell](cli, {}, "vtopo", COMPLETING)
    template = made.source_template
    assert template.count(place) == 1, f"click has another script for {shell}"
    return template.replace(place, more + place) % made.source_vars()


@add_completion_class
class _Bash(BashComplete):
    """Bash, for which a colon parts words: `a:eth0` comes as three, and only what follows the colon is put in."""

    _before = ""

    def get_completion_args(self) -> tuple[list[str], str]:
        args, incomplete = super().get_completion_args()
        words: list[str] = []
        for word in (*args, incomplete):
            if words and (word == ":" or words[-1].endswith(":")):
                words[-1] += word
            else:
                words.append(word)
        *args, whole = words
        self._before = whole.removesuffix(incomplete.removeprefix(":"))
        return args, whole

    def format_completion(self, item: CompletionItem) -> str:
        return f"{item.type},{str(item.value).removeprefix(self._before)}"


def complete_parameters(command: click.Command) -> None:
    """Give a command's parameters what their names say: FILE, LAB, NODE, CODE."""
    for parameter in command.params:
        words = (
            _WORDS.get(parameter.name or "")
            if isinstance(parameter.type, click.types.StringParamType)
            else None
        )
        if isinstance(parameter, click.Option) and parameter.name == "lab":
            words = _labs
        if words is not None:
            parameter.type = _Words(words)


class _Words(click.types.StringParamType):
    """A string, with what it may be."""

    def __init__(self, words: Callable[[click.Context], Iterable[CompletionItem]]) -> None:
        self._words = words

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from vtopo.cli.errors import Failure
        from vtopo.state.folder import StateError

        try:
            found = list(self._words(ctx))
        except (OSError, StateError, Failure):
            return []
        return [
            CompletionItem(incomplete, type=item.type) if item.type == "labs" else item
            for item in found
            if item.type == "labs" or str(item.value).startswith(incomplete)
        ]


def _files(_ctx: click.Context) -> Iterator[CompletionItem]:
    yield CompletionItem("", type="labs")


def _labs(_ctx: click.Context) -> Iterator[CompletionItem]:
    from vtopo.cli.own_world import enter_world
    from vtopo.cli.world import running_labs, state_dir

    enter_world()
    yield from (CompletionItem(name, help="running") for name in running_labs(state_dir()))


def _labs_and_files(ctx: click.Context) -> Iterator[CompletionItem]:
    yield from _labs(ctx)
    yield from _files(ctx)


def _nodes(ctx: click.Context) -> Iterator[CompletionItem]:
    from vtopo.cli.own_world import enter_world
    from vtopo.cli.running import running_nodes

    enter_world()
    for lab, node in running_nodes(ctx.params.get("lab")):
        yield CompletionItem(node, help=lab)


def _endpoints(ctx: click.Context) -> Iterator[CompletionItem]:
    from vtopo.cli.endpoints import link_ends
    from vtopo.cli.links import records_of
    from vtopo.cli.own_world import enter_world
    from vtopo.cli.world import recorded_labs, state_dir

    enter_world()
    wanted = ctx.params.get("lab")
    for lab in [wanted] if wanted else recorded_labs(state_dir()):
        for spot in link_ends(records_of(lab)):
            yield CompletionItem(spot.name, help=lab)


def _codes(_ctx: click.Context) -> Iterator[CompletionItem]:
    from vtopo.lang.diagnostics import CODES

    yield from (CompletionItem(code, help=title) for code, title in CODES.items())


_WORDS: dict[str, Callable[[click.Context], Iterable[CompletionItem]]] = {
    "file": _files,
    "files": _files,
    "lab": _labs_and_files,
    "node": _nodes,
    "endpoints": _endpoints,
    "code": _codes,
}
