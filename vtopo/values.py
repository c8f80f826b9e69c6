"""`dataclass`, the standard library's, but for those with slots: they are made here, in a fifth of the time.

The standard library compiles six methods for each such class. With our three hundred that was a third of the time of
a small command. Here one is compiled, `__init__`, and that once for all classes with fields alike; the others are
shared, and read the fields by `attrgetter`. The classes are dataclasses to everybody: `fields`, `replace` and `asdict`
take them, and each kind may inherit from the other.

Those that are frozen are so for mypy, which refuses each assignment. In the tests, which say FROZEN in the environment,
they refuse it themselves; else a field is set as of any object when one is made, in half of the time. A large lab has
seventy thousand.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from dataclasses import MISSING, Field, FrozenInstanceError
from operator import attrgetter
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from dataclasses import dataclass
else:

    def dataclass(cls=None, /, **options):
        """The decorator, with the options of dataclasses.dataclass."""
        if cls is None:
            return lambda cls: dataclass(cls, **options)
        if not options.get("slots") or options.keys() - _KNOWN:
            return dataclasses.dataclass(cls, **options)
        return _made_anew(cls, **options)


__all__ = ["dataclass"]


_KNOWN = {"frozen", "slots", "kw_only", "eq"}
FROZEN = "VTOPO_FROZEN"
_REFUSES = FROZEN in os.environ


@functools.cache
def _params(frozen: bool, eq: bool) -> object:
    """What the standard library keeps of the options."""

    class Like:
        """Described, since the library would else look at its signature, which takes longer than all else here."""

    return dataclasses.dataclass(frozen=frozen, eq=eq)(Like).__dataclass_params__  # type: ignore[attr-defined]


def _kind() -> object:
    """What tells a field from what else the standard library's decorator finds."""

    class Like:
        """A class with a field."""

        field: None

    like: Any = dataclasses.dataclass(init=False, repr=False, eq=False)(Like)
    return like.__dataclass_fields__["field"]._field_type


_KIND = _kind()


def _made_anew(
    plain: type, *, slots: bool, frozen: bool = False, kw_only: bool = False, eq: bool = True
) -> type:
    assert slots
    inherited = {
        name: field
        for base in reversed(plain.__mro__[1:])
        for name, field in getattr(base, "__dataclass_fields__", {}).items()
    }
    own = {f.name: f for f in _own_fields(plain, kw_only)}
    fields = inherited | own
    content = {
        name: value
        for name, value in vars(plain).items()
        if name not in own and name not in {"__dict__", "__weakref__"}
    }
    content["__qualname__"] = plain.__qualname__
    content["__slots__"] = tuple(name for name in own if name not in inherited)
    content["__dataclass_fields__"] = fields
    content["__dataclass_params__"] = _params(frozen, eq)
    content["__match_args__"] = tuple(f.name for f in fields.values() if f.init and not f.kw_only)
    content.setdefault("__repr__", _repr)
    if eq:
        compared = _getter([f.name for f in fields.values() if f.compare])
        content.setdefault("__eq__", _equal(compared))
        if "__eq__" in vars(plain) or not frozen:
            content.setdefault("__hash__", None)
        else:
            content.setdefault("__hash__", _hash(compared))
    if frozen:
        if _REFUSES:
            content["__setattr__"] = content["__delattr__"] = _refuse
        content.setdefault("__getstate__", _getter(list(fields)))
        content.setdefault("__setstate__", _set_state)
    made = type(plain)(plain.__name__, plain.__bases__, content)
    if "__init__" not in content:
        made.__init__ = _init(made, list(fields.values()))  # type: ignore[misc]
    return made


def _own_fields(plain: type, kw_only: bool) -> list[Field[Any]]:
    found = []
    for name, annotation in vars(plain).get("__annotations__", {}).items():
        if str(annotation).startswith(("ClassVar", "typing.ClassVar")):
            continue
        default = vars(plain).get(name, MISSING)
        if not isinstance(default, Field):
            default = dataclasses.field(default=default)
        default.name, default.type = name, annotation
        default._field_type = _KIND
        if default.kw_only is MISSING:
            default.kw_only = kw_only
        found.append(default)
    return found


def _getter(names: list[str]) -> Any:
    """A method that gives the values of these fields as a tuple."""
    if len(names) > 1:
        get = attrgetter(*names)
        return lambda self: get(self)
    return lambda self: tuple(getattr(self, name) for name in names)


def _equal(compared: Any) -> Any:
    def __eq__(self: Any, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return bool(compared(self) == compared(other))

    return __eq__


def _hash(compared: Any) -> Any:
    def __hash__(self: Any) -> int:
        return hash(compared(self))

    return __hash__


def _repr(self: Any) -> str:
    shown = (f"{f.name}={getattr(self, f.name)!r}" for f in dataclasses.fields(self) if f.repr)
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _refuse(_self: object, name: str, *_value: object) -> NoReturn:
    raise FrozenInstanceError(f"cannot change field {name!r}")


def _set_state(self: Any, state: tuple[object, ...]) -> None:
    for name, value in zip(self.__dataclass_fields__, state, strict=True):
        object.__setattr__(self, name, value)


def _init(made: type, fields: list[Field[Any]]) -> Any:
    """Its `__init__`, which is that of all classes whose fields are alike, but for the names of its parameters."""
    positional = [f for f in fields if f.init and not f.kw_only]
    keywords = [f for f in fields if f.init and f.kw_only]
    parameters = {f.name: f"_{at}" for at, f in enumerate((*positional, *keywords))}
    types = {f.name: f.type for f in fields}
    known: dict[str, object] = {"_MISSING": MISSING}
    values: list[str] = []
    setting: object = made.__setattr__
    by_itself = setting is object.__setattr__
    for at, f in enumerate(fields):
        if not by_itself:
            known[f"_set_{at}"] = getattr(made, f.name).__set__  # quicker than object.__setattr__
        value = parameters.get(f.name, "")
        if f.default_factory is not MISSING:
            known[f"_make_{at}"] = f.default_factory
            value = f"_make_{at}() if {value} is _MISSING else {value}" if value else f"_make_{at}()"
        elif not value and f.default is not MISSING:
            known[f"_default_{at}"] = f.default
            value = f"_default_{at}"
        values.append(value)
    code = _code(tuple(values), len(positional), len(keywords), hasattr(made, "__post_init__"), by_itself)
    code = code.replace(co_varnames=("self", *parameters), co_qualname=f"{made.__qualname__}.__init__")
    if by_itself:
        named = {f"_set_{at}": f.name for at, f in enumerate(fields)}
        code = code.replace(co_names=tuple(named.get(name, name) for name in code.co_names))
    optional = [_may_be_left_out(f) for f in positional]
    if optional != sorted(optional):
        raise TypeError(f"{made.__qualname__} has a field without a default after one with it")
    init = FunctionType(code, known)
    init.__annotations__ = {name: types[name] for name in parameters} | {"return": None}
    # What is MISSING, but has a factory, is made for each.
    init.__defaults__ = tuple(f.default for f in positional if _may_be_left_out(f)) or None
    init.__kwdefaults__ = {f.name: f.default for f in keywords if _may_be_left_out(f)} or None
    return init


def _may_be_left_out(field: Field[Any]) -> bool:
    return field.default is not MISSING or field.default_factory is not MISSING


@functools.cache
def _code(values: tuple[str, ...], positional: int, keywords: int, then: bool, by_itself: bool) -> CodeType:
    """An `__init__` that sets each field to its value, an expression of the parameters `_0`, `_1`, …; or to none.

    A field is set as an attribute `_set_0`, `_set_1`, … if the class does so `by_itself`, else by a function so named.
    """
    names = [f"_{at}" for at in range(positional + keywords)]
    star = ["*", *names[positional:]] if keywords else []
    head = ", ".join(["self", *names[:positional], *star])
    form = "  self._set_{} = {}\n" if by_itself else "  _set_{}(self, {})\n"
    lines = [form.format(at, value) for at, value in enumerate(values) if value]
    if then:
        lines.append("  self.__post_init__()\n")
    made_here: dict[str, Any] = {}
    exec(f"def __init__({head}):\n{''.join(lines) or '  pass'}", made_here)  # noqa: S102 - of numbers alone
    code: CodeType = made_here["__init__"].__code__
    return code
