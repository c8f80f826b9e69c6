"""What `vtopo.values.dataclass` makes behaves as what the standard library makes of the same class."""

from __future__ import annotations

import dataclasses
import inspect
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import FrozenInstanceError, field
from typing import Any, ClassVar, Generic, TypeVar

import pytest

from vtopo import values

T = TypeVar("T")


def classes(dataclass: Callable[..., Any]) -> list[type]:
    """Classes of all the forms that we use, by one of the two decorators."""

    @dataclass(frozen=True, slots=True)
    class Place:
        path: str
        line: int = 1

        @property
        def text(self) -> str:
            return f"{self.path}:{self.line}"

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Resource:
        kind: ClassVar[str] = ""
        id: str
        origin: Place | None = field(default=None, compare=False)
        needs: tuple[str, ...] = ()

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Veth(Resource):
        kind: ClassVar[str] = "veth"
        left: str
        options: dict[str, str] = field(default_factory=dict, repr=False)

    @dataclass(frozen=True, slots=True)
    class Setting(Generic[T]):
        value: T

    @dataclass(frozen=True, slots=True)
    class Nothing:
        pass

    @dataclass(frozen=True, slots=True)
    class Checked:
        number: int

        def __post_init__(self) -> None:
            assert self.number > 0

        def __repr__(self) -> str:
            return f"#{self.number}"

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Checked) and self.number % 10 == other.number % 10

        def __hash__(self) -> int:
            return self.number % 10

    @dataclass(slots=True)
    class Counter:
        name: str
        count: int = 0
        seen: list[str] = field(default_factory=list)
        fixed: int = field(default=7, init=False)
        own: set[str] = field(default_factory=set, init=False)

    @dataclass(slots=True, eq=False)
    class Draft:
        name: str
        later: int = field(init=False)

    return [Place, Resource, Veth, Setting, Nothing, Checked, Counter, Draft]


OURS = dict(
    zip(
        ("Place", "Resource", "Veth", "Setting", "Nothing", "Checked", "Counter", "Draft"),
        classes(values.dataclass),
        strict=True,
    )
)
THEIRS = dict(zip(OURS, classes(dataclasses.dataclass), strict=True))
MADE: dict[str, list[dict[str, Any]]] = {
    "Place": [{"path": "a"}, {"path": "a", "line": 2}, {"path": "b"}],
    "Resource": [{"id": "a"}, {"id": "a", "origin": 1}, {"id": "b", "needs": ("a",)}],
    "Veth": [{"id": "a", "left": "x"}, {"id": "a", "left": "y"}, {"id": "a", "left": "x", "origin": 3}],
    "Setting": [{"value": 1}, {"value": "1"}],
    "Nothing": [{}],
    "Checked": [{"number": 1}, {"number": 11}, {"number": 12}],
    "Counter": [{"name": "a"}, {"name": "a", "count": 2}, {"name": "a", "seen": ["x"]}],
}


@pytest.mark.parametrize("name", MADE)
def test_instances_are_the_same(name: str) -> None:
    ours = [OURS[name](**arguments) for arguments in MADE[name]]
    theirs = [THEIRS[name](**arguments) for arguments in MADE[name]]
    assert list(map(repr, ours)) == list(map(repr, theirs))
    assert list(map(dataclasses.astuple, ours)) == list(map(dataclasses.astuple, theirs))
    assert [[a == b for a in ours] for b in ours] == [[a == b for a in theirs] for b in theirs]
    assert ours[0] != theirs[0]
    if name in ("Veth", "Counter"):  # a dict has no hash, and what may change has none
        for one in (ours[0], theirs[0]):
            with pytest.raises(TypeError, match="unhashable"):
                hash(one)
    else:
        assert list(map(hash, ours)) == list(map(hash, theirs))
    assert [dataclasses.replace(one) for one in ours] == ours


@pytest.mark.parametrize("name", OURS)
def test_classes_are_the_same(name: str) -> None:
    ours, theirs = OURS[name], THEIRS[name]
    assert dataclasses.is_dataclass(ours)
    for attribute in ("__slots__", "__match_args__", "__qualname__", "__module__"):
        assert getattr(ours, attribute) == getattr(theirs, attribute), attribute
    for f, g in zip(dataclasses.fields(ours), dataclasses.fields(theirs), strict=True):
        assert repr(f) == repr(g)
    assert getattr(ours, "kind", None) == getattr(theirs, "kind", None)
    assert _parameters(ours) == _parameters(theirs)
    assert repr(ours.__dataclass_params__) == repr(theirs.__dataclass_params__)  # type: ignore[attr-defined]


def _parameters(made: type) -> list[tuple[str, object, object]]:
    return [(p.name, p.kind, p.annotation) for p in inspect.signature(made).parameters.values()]


def test_wrong_arguments_and_changes_are_refused() -> None:
    for made in (OURS, THEIRS):
        with pytest.raises(TypeError):
            made["Place"]()
        with pytest.raises(TypeError):
            made["Resource"]("a")
        with pytest.raises(AssertionError):
            made["Checked"](0)
        place = made["Place"]("a")
        with pytest.raises(FrozenInstanceError):
            place.line = 2
        with pytest.raises(FrozenInstanceError):
            del place.line
        assert place.line == 1


@values.dataclass(frozen=True, slots=True)
class Sent:
    """What can be pickled has a name in its module."""

    one: int
    many: tuple[str, ...] = ()


def test_it_goes_through_pickle() -> None:
    for sent in (Sent(1), Sent(2, ("a", "b"))):
        assert pickle.loads(pickle.dumps(sent)) == sent


@pytest.mark.parametrize(("above", "below"), [(values, dataclasses), (dataclasses, values)])
def test_each_kind_inherits_from_the_other(above: Any, below: Any) -> None:
    @above.dataclass(frozen=True, slots=True)
    class Above:
        a: int
        b: str = field(default="b", compare=False)

    @below.dataclass(frozen=True, slots=True)
    class Below(Above):
        c: float = 1.5

    one = Below(1, "x")
    assert dataclasses.astuple(one) == (1, "x", 1.5)
    assert one == Below(1, "y")
    assert dataclasses.replace(one, c=2.0) == Below(1, c=2.0)
    match one:
        case Below(1, "x", c):
            assert c == 1.5
        case _:
            raise AssertionError


def test_a_default_is_for_the_last_fields() -> None:
    for module in (values, dataclasses):
        with pytest.raises(TypeError, match="default"):

            @module.dataclass(frozen=True, slots=True)  # type: ignore[attr-defined]
            class Wrong:
                a: int = 1
                b: int


def test_what_may_change_does() -> None:
    for made in (OURS, THEIRS):
        one, other = made["Counter"]("a"), made["Counter"]("a")
        one.seen.append("x")
        one.own.add("y")
        one.count += 1
        assert (other.seen, other.own, one.count, one.fixed) == ([], set(), 1, 7)
        with pytest.raises(AttributeError):
            one.other = 1
        first, second = made["Draft"]("a"), made["Draft"]("a")
        assert first != second
        assert len({first, second}) == 2
        assert not hasattr(first, "later")
        first.later = 3
        assert first.later == 3


def test_other_options_are_the_standard_librarys() -> None:
    @values.dataclass(order=True)
    class Counter:
        count: int = 0

    assert Counter(0) < Counter(1)


def test_all_of_this_holds_where_only_mypy_refuses_changes() -> None:
    """As for whoever uses vtopo; what is left out is what such a change does."""
    environment = {key: value for key, value in os.environ.items() if key != values.FROZEN}
    program = f"""
import sys
import pytest, vtopo.values
assert not vtopo.values._REFUSES
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", "--noconftest", {__file__!r}, "-k",
                      "not refused and not all_of_this"]))
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.startswith("." * 20), ran.stdout
