"""Renders a file's Jinja2 template: nothing in it reaches Python, and its time and memory are bounded."""

from __future__ import annotations

import functools
import itertools
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jinja2
from jinja2 import nodes, sandbox

MOST_STEPS = 200_000
"""Turns of loops and calls."""
MOST_TEXT = 4_000_000
"""Characters of a result, and of any text on the way to it."""
MOST_NUMBER = 2**64

_TEXT_METHODS = frozenset(
    [
        "capitalize",
        "count",
        "endswith",
        "find",
        "index",
        "isalnum",
        "isalpha",
        "isdigit",
        "islower",
        "isnumeric",
        "isspace",
        "isupper",
        "lower",
        "lstrip",
        "partition",
        "removeprefix",
        "removesuffix",
        "rfind",
        "rpartition",
        "rsplit",
        "rstrip",
        "split",
        "splitlines",
        "startswith",
        "strip",
        "title",
        "upper",
    ]
)
_METHODS: Mapping[type, frozenset[str]] = {
    str: _TEXT_METHODS,
    dict: frozenset({"get", "items", "keys", "values"}),
    list: frozenset({"count", "index"}),
}
_FILTERS = [
    "abs",
    "batch",
    "capitalize",
    "count",
    "d",
    "default",
    "dictsort",
    "e",
    "escape",
    "first",
    "float",
    "groupby",
    "indent",
    "int",
    "items",
    "join",
    "last",
    "length",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "select",
    "selectattr",
    "slice",
    "sort",
    "string",
    "sum",
    "title",
    "trim",
    "unique",
    "upper",
    "wordwrap",
]


class TemplateError(Exception):
    """A template that cannot be rendered: the `line` of it, and why."""

    def __init__(self, line: int, reason: str, help: str = "") -> None:
        super().__init__(reason)
        self.line, self.reason, self.help = line, reason, help


class _TooMuch(Exception):
    """A bound was passed."""


def render(path: str, source: str, node: Mapping[str, object], lab: Mapping[str, object]) -> str:
    """What the template makes of a node and its lab; TemplateError if it fails, or goes past a bound."""
    environment = _Environment(path)
    try:
        tree = environment.parse(source, path, path)
        code = environment.compile(_bounded(tree), path, path)
        template = jinja2.Template.from_code(
            environment, code, {"node": node, "lab": lab, **environment.globals}
        )
        parts: list[str] = []
        size = 0
        for part in template.generate():
            size += len(part)
            if size > MOST_TEXT:
                raise _TooMuch(f"it makes more than {MOST_TEXT // 1_000_000} million characters")
            parts.append(part)
    except jinja2.TemplateSyntaxError as e:
        raise TemplateError(e.lineno, e.message or "it is not written so") from e
    except RecursionError as e:
        raise TemplateError(_line(e, path), "it is nested too deeply, or calls itself") from e
    except jinja2.exceptions.SecurityError as e:
        raise TemplateError(_line(e, path), "it reaches for what no template is given") from e
    except jinja2.UndefinedError as e:
        reason = _plain(e.message or str(e))
        help = "a template sees `node` and `lab`" if reason.endswith("is undefined") else ""
        raise TemplateError(_line(e, path), reason, help) from e
    except (jinja2.TemplateError, _TooMuch) as e:
        raise TemplateError(_line(e, path), str(e)) from e
    except Exception as e:
        raise TemplateError(_line(e, path), f"{e}" or type(e).__name__) from e
    return "".join(parts)


def _plain(message: str) -> str:
    """Jinja2's words without those of its implementation."""
    return message.replace("'dict object' has no attribute", "there is no").replace("'str object'", "a text")


def _line(error: BaseException, path: str) -> int:
    """The template's line that was being rendered; 1 if nothing was."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    return (lines[-1] or 1) if lines else 1


def _bounded(tree: nodes.Template) -> nodes.Template:
    """The template with each loop counted, and each `~` looked at."""
    for loop in tree.find_all(nodes.For):
        loop.iter = _through("counted", loop.iter)
    for joined in list(tree.find_all(nodes.Concat)):
        joined.nodes = [_through("measured", nodes.List(joined.nodes, lineno=joined.lineno))]
    return tree


def _through(name: str, value: nodes.Node) -> nodes.Filter:
    assert isinstance(value, nodes.Expr)
    return nodes.Filter(value, name, [], [], None, None, lineno=value.lineno)


class _Environment(sandbox.ImmutableSandboxedEnvironment):
    """Jinja2's sandbox with fewer filters and methods, and bounds on steps, texts and numbers."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self, path: str) -> None:
        super().__init__(
            undefined=jinja2.StrictUndefined,
            keep_trailing_newline=True,
            trim_blocks=True,
            lstrip_blocks=True,
            autoescape=False,
            cache_size=0,
            loader=None,
        )
        self._steps = 0
        known = self.filters
        self.filters = {name: self._watched(name, known[name]) for name in _FILTERS}
        self.filters.update(counted=self._counted, measured=self._measured)
        self.globals = {"range": sandbox.safe_range, "namespace": jinja2.utils.Namespace}

    def _step(self) -> None:
        self._steps += 1
        if self._steps > MOST_STEPS:
            raise _TooMuch(f"it takes more than {MOST_STEPS // 1000},000 turns and calls")

    def _counted(self, values: Iterable[Any]) -> Any:
        """What a loop runs over, a step for each turn."""
        if isinstance(values, jinja2.Undefined):
            return values
        return self._turns(values)

    def _turns(self, values: Iterable[Any]) -> Iterator[Any]:
        for value in values:
            self._step()
            yield value

    def _measured(self, values: Sequence[Any]) -> str:
        """The operands of `~` as one text."""
        texts = [str(value) for value in values]
        _check(sum(map(len, texts)))
        return "".join(texts)

    def _watched(self, name: str, filter: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(filter)
        def watched(*args: Any, **kwargs: Any) -> Any:
            self._step()
            values = [*args, *kwargs.values()]
            if any(isinstance(v, int) and abs(v) > 10_000 for v in values[1:]):
                raise _TooMuch(f"the filter `{name}` is given too large a number")
            sizes = [len(v) for v in values if isinstance(v, str | list | tuple)]
            if name in ("replace", "join", "indent"):
                _check(sizes[0] * max(sizes[1:], default=1) if sizes else 0)
            return filter(*args, **kwargs)

        return watched

    def getattr(self, obj: Any, attribute: str) -> Any:
        """A key of a mapping before its methods: `node.data.items` is what the lab says."""
        if isinstance(obj, dict) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Only methods that neither change anything nor make something large."""
        allowed = next((names for kind, names in _METHODS.items() if isinstance(obj, kind)), None)
        if allowed is not None:
            return attr in allowed
        return super().is_safe_attribute(obj, attr, value)

    def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        """A call of a macro, a method or a function."""
        __self._step()
        return super().call(__context, __obj, *args, **kwargs)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """An operator whose result may be large."""
        if operator == "**" and (abs(right) > 64 or abs(left) > MOST_NUMBER):
            raise _TooMuch("a number gets too large")
        if operator == "%" and isinstance(left, str):
            raise _TooMuch("texts are put together with `~`")
        if operator == "*":
            for one, other in itertools.permutations((left, right)):
                if isinstance(one, str | list) and isinstance(other, int):
                    _check(len(one) * other)
        if operator == "+" and isinstance(left, str | list) and isinstance(right, str | list):
            _check(len(left) + len(right))
        result = super().call_binop(context, operator, left, right)
        if isinstance(result, int | float) and abs(result) > MOST_NUMBER:
            raise _TooMuch("a number gets too large")
        return result


def _check(size: int) -> None:
    if size > MOST_TEXT:
        raise _TooMuch(f"a text gets longer than {MOST_TEXT // 1_000_000} million characters")
