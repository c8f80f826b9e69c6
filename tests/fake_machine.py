"""A machine on the fake world: a state directory, and processes that come and go."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from fake_backend import FakeBackend, World
from labs_in_code import bridge, host, pair, port, without

from vtopo.backends.base import Weight
from vtopo.compile.resources import Resource
from vtopo.run.events import Event
from vtopo.run.transaction import DownResult, UpResult, down, preview, up
from vtopo.state.folder import StateDir

LAB = pair()
SLOW = frozenset({"host", "bridge", "veth"})
# Adds, changes in place, replaces a host with all on it, and takes something away.
EDITED = (
    *without(pair(mtu=9000, second="bee"), "a:0.0.0.0/0/route"),
    host("c"),
    bridge("more"),
    port("c", "more"),
)


def weigh(_: Resource) -> Weight:
    """So that four go at once on two CPUs."""
    return Weight(cpu=0.5)


@dataclass
class Machine:
    """A machine with a state directory, whose processes come and go; its backends are `slow` with some kinds."""

    state: StateDir
    slow: frozenset[str] = frozenset()
    world: World = field(default_factory=World)
    events: list[Event] = field(default_factory=list)

    def backend(self, **how: object) -> FakeBackend:
        return FakeBackend(self.world, slow=dict.fromkeys(self.slow, weigh), **how)  # type: ignore[arg-type]

    def up(self, lab: Sequence[Resource], backend: FakeBackend | None = None, **how: Any) -> UpResult:
        backends = [backend or self.backend()]
        return up("shop", lab, "/labs/shop.vlab", backends, self.state, on_event=self.events.append, **how)

    def down(self, backend: FakeBackend | None = None, **how: Any) -> DownResult:
        backends = [backend or self.backend()]
        return down("shop", backends, self.state, on_event=self.events.append, **how)

    def has(self, lab: Sequence[Resource]) -> bool:
        """Whether exactly `lab` exists and is recorded, and nothing is to be done about it."""
        return self.world.specs() == {(r.kind, r.id, str(r)) for r in lab} and not self.events_of_change(lab)

    def events_of_change(self, lab: Sequence[Resource]) -> bool:
        return bool(preview("shop", lab, [self.backend()], self.state))

    def is_clean(self) -> bool:
        return not self.world.resources and not self.state.names()


def failing(action: str, id_: str, times: int = 1) -> Callable[[str, Resource], bool]:
    left = [times]

    def fault(asked: str, resource: Resource) -> bool:
        if (asked, resource.id) != (action, id_) or not left[0]:
            return False
        left[0] -= 1
        return True

    return fault


def failing_at(number: int) -> Callable[[str, Resource], bool]:
    """The step with this number, counted from 0, fails."""
    count = [0]

    def fault(_action: str, _resource: Resource) -> bool:
        count[0] += 1
        return count[0] == number + 1

    return fault
