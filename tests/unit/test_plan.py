"""Plans: what they do, why, and in which order."""

import json
from dataclasses import replace
from typing import Literal

import pytest
from labs_in_code import address, bridge, fabric, host, link, pair, port, ring, scratch, without

from vtopo.backends.base import Present
from vtopo.compile.resources import MachineVxlan, Macvlan, Resource, Vxlan
from vtopo.plan.diff import GONE, NEW, UNFINISHED, UNWANTED, diff
from vtopo.plan.order import batches
from vtopo.plan.plan import Action, Change, Plan, Step
from vtopo.plan.render import lines, to_json

LAB = pair()


def recorded(*resources: Resource) -> dict[str, Resource]:
    return {r.id: r for r in resources}


def seen(*resources: Resource) -> dict[str, Present]:
    return {r.id: Present(r) for r in resources}


def change(before: tuple[Resource, ...], after: tuple[Resource, ...]) -> Plan:
    """The plan from one lab that is recorded and there to another."""
    return diff(after, recorded(*before), seen(*before))


def told(plan: Plan) -> dict[str, tuple[Action, str]]:
    """What the reader is told of each resource."""
    return {s.resource.id: (s.change, s.reason) for s in plan.steps}


def position(plan: Plan, action: Action, id_: str) -> int:
    return next(i for i, s in enumerate(plan.steps) if s.action is action and s.resource.id == id_)


def carried_out(plan: Plan) -> list[Step]:
    return [plan.steps[at] for batch in batches(plan) for at in batch.steps]


def swapped(lab: tuple[Resource, ...], *new: Resource) -> tuple[Resource, ...]:
    by_id = {r.id: r for r in new}
    return tuple(by_id.get(r.id, r) for r in lab)


def test_a_new_lab_is_created_whole() -> None:
    plan = diff(LAB, {}, {})
    assert {s.action for s in plan.steps} == {Action.CREATE}
    assert {s.reason for s in plan.steps} == {NEW}
    assert plan.counts[Action.CREATE] == len(LAB)


def test_the_same_lab_again_needs_nothing() -> None:
    plan = change(LAB, pair())
    assert not plan
    assert plan.counts[Action.NOOP] == len(LAB)
    assert plan.summary == f"{len(LAB)} unchanged"


def test_each_step_comes_after_its_needs() -> None:
    order = [s.resource.id for s in carried_out(diff(LAB, {}, {}))]
    for resource in LAB:
        for need in resource.needs:
            assert order.index(need) < order.index(resource.id)


def test_a_kind_goes_in_one_batch_when_it_can() -> None:
    kinds = [(b.kind, len(b.steps)) for b in batches(diff(ring(50), {}, {}))]
    assert kinds == [("scratch", 1), ("host", 50), ("veth", 50), ("address", 100)]


def test_an_mtu_is_changed_in_place_and_nothing_else_happens() -> None:
    plan = change(LAB, pair(mtu=9000))
    (step,) = plan.steps
    assert (step.action, step.resource.id) == (Action.UPDATE, "a--b/veth")
    assert step.changed == (Change("left.mtu", 1500, 9000), Change("right.mtu", 1500, 9000))
    assert step.reason == "left.mtu 1500 → 9000, right.mtu 1500 → 9000"


def test_a_link_set_down_by_hand_is_set_up_in_place() -> None:
    down = link("a", "b")
    down = replace(down, left=replace(down.left, state="down"))
    (step,) = diff(LAB, recorded(*LAB), seen(*swapped(LAB, down))).steps
    assert (step.action, step.reason) == (Action.UPDATE, "drifted: left.state down → up")


def test_a_tunnel_changes_its_address_in_place_but_not_its_family() -> None:
    def tunnel(local: str) -> Vxlan:
        return Vxlan(id="t", netns="n", name="v", mac="02:00:00:00:00:09", vni=1, port=4789, local=local,
                     device="eth0", mtu=1450, master="br0")  # fmt: skip

    before = (tunnel("192.0.2.1"),)
    assert [s.action for s in change(before, (tunnel("192.0.2.2"),)).steps] == [Action.UPDATE]
    assert [s.change for s in change(before, (tunnel("fd00::1"),)).steps] == [Action.REPLACE] * 2


def test_a_replaced_host_takes_along_what_is_within_it() -> None:
    plan = change(LAB, pair(second="bee"))
    assert told(plan) == {
        "b/host": (Action.REPLACE, "hostname b → bee"),
        "a--b/veth": (Action.REPLACE, "its host b/host is made anew"),
        "a:eth0-b:10.0.0.1/24/address": (Action.REPLACE, "its veth a--b/veth is made anew"),
        "b:eth0-a:10.0.0.2/24/address": (Action.REPLACE, "its host b/host is made anew"),
        "a:0.0.0.0/0/route": (
            Action.REPLACE,
            "address a:eth0-b:10.0.0.1/24/address, which it needs, is made anew",
        ),
    }
    assert plan.counts[Action.REPLACE] == 5


def test_what_goes_with_its_container_is_not_deleted_one_by_one() -> None:
    plan = change(LAB, ())
    asked = {s.resource.id for s in plan.steps if s.goes_with is None}
    assert asked == {"scratch", "fabric"}
    assert {s.reason for s in plan.steps} == {UNWANTED}


@pytest.mark.parametrize(("mode", "by_itself"), [("passthru", True), ("bridge", False)])
def test_what_holds_something_outside_is_deleted_before_its_container(
    mode: Literal["passthru", "bridge"], by_itself: bool
) -> None:
    within = {"needs": ("fabric",), "within": ("fabric",), "netns": "fabric", "mtu": 1500, "mac": ""}
    tunnel = MachineVxlan(
        id="x/tunnel", name="t", vni=5, port=4789, local="0.0.0.0", device="eth0", master="x", **within
    )
    macvlan = Macvlan(id="x/macvlan", name="m", interface="eth0", mode=mode, **within)
    plan = change((scratch(), fabric(), tunnel, macvlan), ())
    goes_with = {s.resource.id: s.goes_with for s in plan.steps}
    assert goes_with["x/tunnel"] is None
    assert goes_with["x/macvlan"] == (None if by_itself else "fabric")
    first = {plan.steps[at].resource.id for at in plan.steps[position(plan, Action.DELETE, "fabric")].needs}
    assert first == {"x/tunnel"} | ({"x/macvlan"} if by_itself else set())


def test_deletes_come_in_reverse_of_needs() -> None:
    before = (scratch(), fabric(), host("a"), bridge("lan"), port("a", "lan"))
    plan = change(before, (scratch(), fabric(), host("a")))
    assert [s.resource.id for s in carried_out(plan)] == ["a--lan/veth", "lan/bridge"]


def test_a_bridge_made_anew_takes_its_ports_along_though_they_live_elsewhere() -> None:
    other = replace(bridge("lan"), name="other")
    plan = change(LAB, swapped(LAB, other))
    assert told(plan)["a--lan/veth"] == (
        Action.REPLACE,
        "bridge lan/bridge, which it needs, is made anew",
    )
    order = [(s.action, s.resource.id) for s in carried_out(plan)]
    assert order == [
        (Action.DELETE, "a--lan/veth"),
        (Action.DELETE, "lan/bridge"),
        (Action.CREATE, "lan/bridge"),
        (Action.CREATE, "a--lan/veth"),
    ]


def test_what_is_gone_is_made_again() -> None:
    there = seen(*(r for r in LAB if r.id != "a:0.0.0.0/0/route"))
    (step,) = diff(LAB, recorded(*LAB), there).steps
    assert (step.action, step.change, step.reason) == (Action.CREATE, Action.CREATE, GONE)


def test_the_remains_of_a_gone_container_are_cleared_away_first() -> None:
    plan = diff(LAB, recorded(*LAB), seen(*(r for r in LAB if r.id != "b/host")))
    delete = position(plan, Action.DELETE, "b/host")
    create = plan.steps[position(plan, Action.CREATE, "b/host")]
    assert delete in create.needs
    assert create.change is Action.CREATE


def test_drift_is_repaired_and_called_so() -> None:
    drifted = swapped(LAB, link("a", "b", mtu=1400))
    (step,) = diff(LAB, recorded(*LAB), seen(*drifted)).steps
    assert step.reason == "drifted: left.mtu 1400 → 1500, right.mtu 1400 → 1500"
    assert step.previous == link("a", "b", mtu=1400)


def test_a_change_that_was_already_made_by_hand_needs_no_step_but_a_record() -> None:
    wanted = pair(mtu=9000)
    plan = diff(wanted, recorded(*LAB), seen(*wanted))
    assert not plan
    assert [r.id for r in plan.recorded_otherwise] == ["a--b/veth"]


def test_the_unfinished_is_cleared_away_and_made_again() -> None:
    plan = diff(LAB, recorded(*LAB), seen(*LAB), {"a:0.0.0.0/0/route"})
    assert [(s.action, s.reason) for s in plan.steps] == [
        (Action.DELETE, UNFINISHED),
        (Action.CREATE, UNFINISHED),
    ]


def test_who_takes_a_name_waits_for_its_former_holder_and_nobody_else_does() -> None:
    old = link("a", "b")
    new = replace(old, id="again/veth")
    before = (scratch(), host("a"), host("b"), host("c"), old)
    after = (scratch(), host("a"), host("b"), host("d"), new)
    plan = change(before, after)
    assert plan.steps[position(plan, Action.CREATE, "again/veth")].needs == (
        position(plan, Action.DELETE, "a--b/veth"),
    )
    assert plan.steps[position(plan, Action.CREATE, "d/host")].needs == ()


def test_an_address_moves_from_one_interface_to_another() -> None:
    wires = link("a", "b"), link("a", "b", interface="eth1")
    wires = wires[0], replace(wires[1], id="second/veth")
    base = (scratch(), host("a"), host("b"), *wires)
    old, new = address("a", wires[0], "10.0.0.1/24"), address("a", wires[1], "10.0.0.1/24")
    order = [(s.action, s.resource.id) for s in carried_out(change((*base, old), (*base, new)))]
    assert order == [(Action.DELETE, old.id), (Action.CREATE, new.id)]


def test_where_nothing_forces_it_deletes_wait_until_the_rest_succeeded() -> None:
    before = (scratch(), host("a"))
    plan = change(before, (scratch(), host("b")))
    assert [s.action for s in carried_out(plan)] == [Action.CREATE, Action.DELETE]


def test_a_lab_that_lacks_what_it_needs_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a/host needs scratch, which the lab does not have"):
        diff((host("a"),), {}, {})


def test_steps_in_a_circle_are_refused_by_name() -> None:
    one, two = replace(host("a"), needs=("b/host",)), replace(host("b"), needs=("a/host",))
    with pytest.raises(ValueError, match="circle: a/host, b/host"):
        batches(diff((one, two), {}, {}))


def test_json_says_everything_and_is_stable() -> None:
    plan = change(LAB, pair(mtu=9000, second="bee"))
    text = to_json(plan, "shop")
    assert text == to_json(change(pair(), pair(mtu=9000, second="bee")), "shop")
    document = json.loads(text)
    assert (document["format"], document["lab"]) == (1, "shop")
    assert document["summary"] == {"create": 0, "update": 0, "replace": 5, "delete": 0, "no-op": 5}
    made = next(s for s in document["steps"] if s["id"] == "b/host" and s["action"] == "create")
    assert made == {
        "id": "b/host",
        "kind": "host",
        "action": "create",
        "change": "replace",
        "reason": "hostname b → bee",
        "place": "a.vlab:3:1",
        "after": [position(plan, Action.DELETE, "b/host")],
        "changed": {"hostname": {"from": "b", "to": "bee"}},
        "takes_along": [
            "a--b/veth",
            "b:eth0-a:10.0.0.2/24/address",
            "a:eth0-b:10.0.0.1/24/address",
            "a:0.0.0.0/0/route",
        ],
    }


def test_text_shows_one_line_per_resource_of_a_small_plan() -> None:
    after = without(swapped(LAB, bridge("lan", mtu=9000)), "a:0.0.0.0/0/route")
    assert lines(change(LAB, (*after, host("c")))) == (
        "- delete   route   a:0.0.0.0/0/route  no longer in the lab",
        "~ update   bridge  lan/bridge         mtu 1500 → 9000",
        "+ create   host    c/host             new",
        "1 to create, 1 to update, 1 to delete, 8 unchanged",
    )


def test_what_a_change_takes_along_is_said_where_it_begins() -> None:
    plan = change(LAB, pair(second="bee"))
    (made,) = (s for s in plan.steps if s.takes_along)
    assert (made.action, made.resource.id) == (Action.CREATE, "b/host")
    assert sorted(made.takes_along) == sorted(id_ for id_ in told(plan) if id_ != "b/host")
    line = next(line for line in lines(plan) if "b/host " in line)
    assert line.endswith("  hostname b → bee; takes along a--b/veth"), "what goes with the link is not listed"
    (bridge_line, *_) = lines(change(LAB, swapped(LAB, replace(bridge("lan"), name="other"))))
    assert bridge_line.endswith("; takes along a--lan/veth")


def test_what_goes_by_itself_takes_nothing_along() -> None:
    assert not any(s.takes_along for s in change(LAB, ()).steps)


def test_a_renamed_interface_is_said_to_take_the_place_of_the_old_one() -> None:
    old = link("a", "b")
    new = replace(old, id="again/veth", left=replace(old.left, name="wan"))
    base = (scratch(), host("a"), host("b"))
    plan = change((*base, old), (*base, new))
    assert told(plan) == {
        "a--b/veth": (Action.DELETE, "again/veth takes its place"),
        "again/veth": (Action.CREATE, "takes the place of a--b/veth"),
    }


def test_text_of_a_large_plan_is_grouped_unless_all_is_asked_for() -> None:
    plan = diff(ring(200), {}, {})
    assert lines(plan) == (
        "+ create   scratch  scratch                                new",
        "+ create   host     200: h0/host …                         new",
        "+ create   veth     200: h0--h1/veth …                     new",
        "+ create   address  400: h0:eth0-h1:10.0.0.1/24/address …  new",
        "801 to create",
    )
    assert len(lines(plan, verbose=True)) == 802
