"""A LAN that is nothing but a cable is one veth pair, and what takes a bridge is a bridge that says why."""

import pytest
from sweep_labs import compiled

from vtopo.backends.base import Present
from vtopo.compile.resources import Bridge, Netns, Resource, Veth, from_json, to_json
from vtopo.plan.diff import diff
from vtopo.plan.plan import Plan
from vtopo.plan.render import lines
from vtopo.run import faults

LAN = "bridge lan { subnet 10.0.0.0/24 }\n"
TWO = "host a; host b\nlink a -- lan\nlink b -- lan:p7\n"


def change(before: str, after: str) -> Plan:
    """The plan of an edit of a lab that is as its text says."""
    there = compiled(before, "cables")
    return diff(compiled(after, "cables"), {r.id: r for r in there}, {r.id: Present(r) for r in there})


def reasons(plan: Plan) -> dict[str, str]:
    return {step.resource.id: step.reason for step in plan.steps}


def veths(text: str) -> list[Veth]:
    return [r for r in compiled(text, "cables") if isinstance(r, Veth)]


def bridge(text: str) -> Bridge:
    (found,) = (r for r in compiled(text, "cables") if isinstance(r, Bridge) and r.id == "lan/bridge")
    return found


def test_two_ends_and_no_option_are_one_pair_with_all_that_the_ends_have() -> None:
    made = compiled(LAN + TWO, "cables")
    assert not [r for r in made if isinstance(r, Bridge | Netns)], "no bridge, and no fabric for it"
    (cable,) = veths(LAN + TWO)
    ports = veths(LAN + TWO + "host c\nlink c -- lan\n")
    assert (cable.left, cable.right) == (ports[0].left, ports[1].left), "the same names, MACs and MTUs"
    assert cable.id == "a:eth0--b:eth0/veth"
    assert cable.lan == ("lan:eth0", "lan:p7")
    assert cable.origin is not None
    assert cable.origin.line == 2, "the line of the bridge"


def test_which_end_of_a_link_the_lan_is_makes_no_difference() -> None:
    (cable,) = veths(LAN + "host a; host b\nlink lan -- a\nlink lan:p7 -- b\n")
    assert [cable] == veths(LAN + TWO)


@pytest.mark.parametrize(
    "text",
    [
        "bridge lan { subnet 10.0.0.0/24; gateway b }\n" + TWO,
        "bridge lan { subnet 10.0.0.0/24; mtu 9000 }\n" + TWO,
        LAN + 'host a; container b { image "x" }\nlink a -- lan\nlink b -- lan\n',
    ],
)
def test_what_names_and_numbers_takes_no_bridge(text: str) -> None:
    assert [v.id for v in veths(text)] == ["a:eth0--b:eth0/veth"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (LAN, "it has no ends"),
        (LAN + "host a\nlink a -- lan\n", "it has one end"),
        (LAN + TWO + "host c\nlink c -- lan\n", "it has three ends"),
        (LAN + "host h[1..12]\nlink h[*] -- lan\n", "it has 12 ends"),
        (LAN.replace("}", "; address 10.0.0.9/24 }") + TWO, "it has an address of its own"),
        (LAN.replace("}", "; ageing 300s }") + TWO, "it says `ageing`"),
        ("default bridge { stp off }\n" + LAN + TWO, "it says `stp`"),
        (LAN + TWO.replace("lan:p7", "lan:p7 { isolated on }"), "its port to b has options"),
        ("bridge lan\n" + TWO.replace("lan:p7", "lan { trunk 10 }"), "its port to b has options"),
        (
            LAN + TWO.replace("lan:p7", "lan { mac 02:00:00:00:00:01 }"),
            "its port to b has a MAC of its own",
        ),
        (LAN + TWO.replace("lan:p7", "lan { delay 1ms }"), "its link to b does something to packets"),
        (
            LAN + TWO.replace("lan:p7", "lan:p7 { -> { loss 1% } }"),
            "its link to b does something to packets",
        ),
        (LAN + TWO.replace("a -- lan", "a { state down } -- lan"), "its link to a is down"),
        (LAN + TWO.replace("a -- lan", "a -- lan { mtu 1400 }"), "not all of it has the same MTU"),
        (LAN + "host a\nlink a:x -- lan\nlink a:y -- lan\n", "both its ends are a's"),
        (LAN + "host a; vm b { }\nlink a -- lan\nlink b -- lan\n", "at one end is the vm b"),
        (LAN + "host a; bridge b\nlink a -- lan\nlink b -- lan\n", "at one end is the bridge b"),
        (LAN + "host a; uplink b\nlink a -- lan\nlink b none -- lan\n", "at one end is the uplink b"),
        (
            LAN + 'host a; container b { image "x"; after a }\nlink a -- lan\nlink b -- lan\n',
            "at one end is b, which waits for others",
        ),
        (
            LAN + TWO + 'overlay o { vni 5; vtep "eth9" -- lan; remote 192.0.2.1 }\n',
            "overlay o extends it",
        ),
    ],
)
def test_what_takes_a_bridge_is_one_and_says_why(text: str, why: str) -> None:
    assert bridge(text).why == why


def test_a_bridge_in_a_host_is_an_interface_of_that_host() -> None:
    made = compiled("host h { bridge lan; host a; host b; link a -- lan; link b -- lan }\n", "cables")
    (inner,) = (r for r in made if isinstance(r, Bridge))
    assert inner.why == "it is an interface of h"


def test_records_have_the_lans_ports_and_no_reasons() -> None:
    (cable,) = veths(LAN + TWO)
    assert from_json("veth", to_json(cable)) == cable
    assert "why" not in to_json(bridge(LAN))


def test_a_third_end_makes_it_a_bridge_and_says_so() -> None:
    plan = change(LAN + TWO, LAN + TWO + "host c\nlink c -- lan\n")
    told = reasons(plan)
    for id_ in ("a:eth0--b:eth0/veth", "lan/bridge", "a:eth0--lan:eth0/veth", "b:eth0--lan:p7/veth"):
        assert told[id_] == "lan is a bridge now: it has three ends"
    assert told["c:eth0--lan:eth1/veth"] == "new"
    (shown,) = (line for line in lines(plan) if line.startswith("- delete"))
    assert "takes along a:eth0/address/10.0.0.1/24 and b:eth0/address/10.0.0.2/24" in shown


def test_an_option_makes_it_a_bridge_and_says_which() -> None:
    told = reasons(change(LAN + TWO, LAN.replace("}", "; stp on }") + TWO))
    assert told["lan/bridge"] == "lan is a bridge now: it says `stp`"


def test_without_the_third_end_it_is_a_cable_again_and_says_so() -> None:
    other = "bridge two { stp on }\n"  # keeps the fabric
    plan = change(LAN + other + TWO + "host c\nlink c -- lan\n", LAN + other + TWO + "host c\n")
    told = reasons(plan)
    for id_ in ("a:eth0--b:eth0/veth", "lan/bridge", "a:eth0--lan:eth0/veth", "b:eth0--lan:p7/veth"):
        assert told[id_] == "lan is a cable now: it has two ends, and nothing that takes a bridge"
    assert told["c:eth0--lan:eth1/veth"] == "no longer in the lab"


def test_other_lans_are_not_disturbed() -> None:
    other = "bridge two { subnet 10.2.0.0/24 }\nlink a -- two\nlink b -- two\n"
    plan = change(LAN + TWO + other, LAN + TWO + other + "host c\nlink c -- lan\n")
    assert not [id_ for id_ in reasons(plan) if "eth1" in id_ and "lan" not in id_]


def test_a_cable_is_what_a_link_is() -> None:
    plain = "host a; host b\nlink a -- b { subnet 10.0.0.0/24 }\n"
    plan = change(plain, LAN + TWO)
    assert not plan, "nothing is done"
    assert [r.id for r in plan.recorded_otherwise] == ["a:eth0--b:eth0/veth"], "but it is known as lan"


def test_a_setting_of_an_interface_goes_and_comes_with_it() -> None:
    text = TWO.replace(
        "host a", 'host a { sysctl "net.ipv4.conf.eth0.rp_filter" 2; sysctl "net.ipv4.conf.all.rp_filter" 0 }'
    )
    told = reasons(change(LAN + text, LAN + text + "host c\nlink c -- lan\n"))
    assert told["a/sysctl/net.ipv4.conf.eth0.rp_filter"] == "its veth a:eth0--b:eth0/veth goes away"
    assert "a/sysctl/net.ipv4.conf.all.rp_filter" not in told


def test_both_links_of_the_text_are_the_one_cable() -> None:
    (cable,) = veths(LAN + TWO)
    found: dict[str, Resource] = {cable.id: cable}
    assert faults.links_among(found.values(), "a", "lan") == [(cable, True)]
    assert faults.links_among(found.values(), "lan:p7", "b:eth0") == [(cable, True)]
    assert faults.links_among(found.values(), "b", "lan") == [(cable, False)]
    with pytest.raises(faults.NoSuchLink, match="`a` has links to lan"):
        faults.links_among(found.values(), "a", "b")
    assert faults.nodes_of(cable) == (("a", "lan"), ("lan", "b"))
    fallen = faults.down(cable)
    assert (fallen.left.state, fallen.right.state) == ("down", "down")


def test_a_port_is_where_the_same_frames_pass() -> None:
    (cable,) = veths(LAN + TWO)
    where = {name: end.netns for name, end in cable.interfaces}
    assert where == {"a:eth0": "a/host", "lan:eth0": "b/host", "lan:p7": "a/host", "b:eth0": "b/host"}
