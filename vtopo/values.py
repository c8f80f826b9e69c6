"""`dataclass`, the standard library's, but for frozen ones with slots: those are made here, in a fifth of the time.

The standard library compiles six methods for each such class. With our three hundred that was a third of the time of
a small command. Here one is compiled, `__init__`; the others are shared, and read the fields by `attrgetter`. The
classes are dataclasses to everybody: `fields`, `replace` and `asdict` take them, and each kind may inherit from the
other.
"""

from __future__ import annotations

import dataclasses
from dataclasses import MISSING, Field, FrozenInstanceError
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from dataclasses import dataclass
else:

    def dataclass(cls=None, /, **options):
        """The decorator, with the options of dataclasses.dataclass."""
        if cls is None:
            return lambda cls: dataclass(cls, **options)
        rest = {name: on for name, on in options.items() if name != "kw_only"}
        if rest != {"frozen": True, "slots": True}:
            return dataclasses.dataclass(cls, **options)
        return _value_class(cls, options.get("kw_only", False))


__all__ = ["dataclass"]


@dataclasses.dataclass(frozen=True, slots=True)
class _Model:
    """What the standard library says of a dataclass like ours."""

    field: None


_PARAMS = _Model.__dataclass_params__  # type: ignore[attr-defined]
_KIND = _Model.__dataclass_fields__["field"]._field_type  # type: ignore[attr-defined]


def _value_class(plain: type, kw_only: bool) -> type:
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
    content["__dataclass_params__"] = _PARAMS
    content["__match_args__"] = tuple(f.name for f in fields.values() if f.init and not f.kw_only)
    compared = _getter([f.name for f in fields.values() if f.compare])
    content.setdefault("__getstate__", _getter(list(fields)))
    for name, method in _shared(compared).items():
        content.setdefault(name, method)
    if "__eq__" in vars(plain) and "__hash__" not in vars(plain):
        content["__hash__"] = None
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


def _shared(compared: Any) -> dict[str, Any]:
    def __eq__(self: Any, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return bool(compared(self) == compared(other))

    def hashed(self: Any) -> int:
        return hash(compared(self))

    return {
        "__eq__": __eq__,
        "__hash__": hashed,
        "__repr__": _repr,
        "__setattr__": _refuse,
        "__delattr__": _refuse,
        "__setstate__": _set_state,
    }


def _repr(self: Any) -> str:
    shown = (f"{f.name}={getattr(self, f.name)!r}" for f in dataclasses.fields(self) if f.repr)
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _refuse(_self: object, name: str, *_value: object) -> NoReturn:
    raise FrozenInstanceError(f"cannot change field {name!r}")


def _set_state(self: Any, state: tuple[object, ...]) -> None:
    for name, value in zip(self.__dataclass_fields__, state, strict=True):
        object.__setattr__(self, name, value)


def _init(made: type, fields: list[Field[Any]]) -> Any:
    """Its `__init__`: the one method that has to be compiled, for the names of its parameters."""
    known: dict[str, object] = {"_MISSING": MISSING}
    positional: list[str] = []
    keywords: list[str] = []
    lines: list[str] = []
    for f in fields:
        known[f"_set_{f.name}"] = getattr(made, f.name).__set__  # quicker than object.__setattr__
        value = parameter = f.name
        if f.default is not MISSING:
            known[f"_default_{f.name}"] = f.default
            parameter += f"=_default_{f.name}"
        elif f.default_factory is not MISSING:
            known[f"_make_{f.name}"] = f.default_factory
            parameter += "=_MISSING"
            value = f"_make_{f.name}() if {f.name} is _MISSING else {f.name}"
        if f.init:
            (keywords if f.kw_only else positional).append(parameter)
        lines.append(f"  _set_{f.name}(self, {value})\n")
    if hasattr(made, "__post_init__"):
        lines.append("  self.__post_init__()\n")
    star = ["*", *keywords] if keywords else []
    head = ", ".join(["self", *positional, *star])
    made_here: dict[str, Any] = {}
    exec(f"def __init__({head}):\n{''.join(lines) or '  pass'}", known, made_here)  # noqa: S102 - of field names alone
    return made_here["__init__"]
