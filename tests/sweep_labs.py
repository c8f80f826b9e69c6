"""The labs that the fault sweeps run over. Between them they have every kind of resource: a new kind joins by a text.

Each lab is brought up, edited, and taken down, and killed or refused something at every point of that. A new
kind needs a `SweepLab` here, or some lines more in one that is here: its resources in `text`, and in `edited` the same
with something changed in place, something replaced, something gone and something new. A test says so
until it is there (tests/unit/test_sweep_labs.py).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from vtopo.compile.compiler import compile_lab
from vtopo.compile.frontend import check_source
from vtopo.compile.resources import Capacity, Cgroup, Member, Resource
from vtopo.lang.source import Range, Source


@dataclass(frozen=True)
class SweepLab:
    """A lab as text, and the same lab edited.

    `more` are resources that no text makes, yet. `apart` labs run in namespaces of their own, quickly and with an exact
    look at what is left; one that needs a system of the machine itself (a daemon, a device) runs on the machine, with
    `daemons`, by their fixtures' names.
    Of the points of one whose runs take long, each so manieth is tried, and with `VTOPO_SWEEP=all` each: `every`.
    """

    text: str
    edited: str
    more: tuple[Resource, ...] = ()
    more_edited: tuple[Resource, ...] = ()
    apart: bool = True
    every: int = 1
    daemons: tuple[str, ...] = ()


def limits(node: str, **limits: int) -> tuple[Resource, ...]:
    """A host's control group, and the host's place in it."""
    group, host = f"{node}/cgroup", f"{node}/host"
    return (
        Cgroup(id=group, node=node, **limits),  # type: ignore[arg-type]
        Member(id=f"{node}/member", needs=(host, group), within=(host,), node=node, host=host),
    )


_TWO_LANS = """\
bridge one { subnet 10.1.0.0/24 }
host a { sysctl "net.ipv4.conf.eth0.rp_filter" 2 }
host b; host c
link a -- one
link b -- one
link a -- two
link b -- two
"""

LABS: dict[str, SweepLab] = {
    "links": SweepLab(
        text="""\
bridge lan { subnet 10.0.0.0/24; address 10.0.0.254/24; stp on; ageing 60s }
host a { bridge x; bridge y; host i; link i 10.9.0.1/24 -- y; route 10.7.0.0/16 via 10.1.0.2 }
host b { bridge x; bridge y; forward on }
link a -- lan { isolated on; static-mac 02:00:00:00:00:0a }
link b -- lan { static-mac 02:00:00:00:00:0b }
link a:p 10.1.0.1/24 -- b:p 10.1.0.2/24 { rate 10Mbit }
overlay o { vni 5; vtep a:p -- a.x; vtep b:p -- b.x }
overlay q { vni 7; learning off; group 239.1.1.1; vtep a:p -- a.y; vtep b:p -- b.y }
""",
        edited="""\
bridge lan { subnet 10.0.0.0/24; address 10.0.0.253/24; mtu 1400; priority 4096 }
host a { bridge x; bridge y; host i; link i 10.9.0.2/24 -- y; forward on; route 10.8.0.0/16 via 10.1.0.2 }
host b { bridge x; bridge y }
host c
link a -- lan { cost 9; static-mac 02:00:00:00:00:0c }
link c -- lan
link a:p 10.1.0.1/24 -- b:p 10.1.0.2/24 { mtu 9000; rate 20Mbit; <- { rate 1Mbit } }
overlay o { vni 6; vtep a:p -- a.x; vtep b:p -- b.x }
overlay q { vni 7; learning off; ttl 9; vtep a:p -- a.y; vtep b:p -- b.y }
""",
    ),
    # One LAN is a cable and becomes a bridge, and another the other way round.
    "cables": SweepLab(
        text=f"bridge two {{ subnet 10.2.0.0/24; stp on }}\n{_TWO_LANS}",
        edited=f"bridge two {{ subnet 10.2.0.0/24 }}\n{_TWO_LANS}link c -- one\n",
    ),
    "limits": SweepLab(
        text="host a\nhost b { map uid 0 -> 1000 count 1 }\nhost c { namespaces [net, uts] }\n",
        edited='host a { env K "v" }\nhost b { map uid 0 -> 1000 count 1 }\nhost c { namespaces [net, uts] }\n',
        more=(*limits("a", pids=100, cpu_weight=512), *limits("b", memory=1 << 26)),
        more_edited=(*limits("a", pids=200, memory=1 << 26), *limits("c", pids=50)),
    ),
    "life": SweepLab(
        text="""\
bridge lan { subnet 10.0.0.0/24 }
host a {
  file "/etc/new/conf" "one"
  bind "/usr" -> "/opt/bound"
  sysctl "net.ipv4.tcp_ecn" 1
  exec "true"
  run ["sleep", "1000"]
  ready "true"
}
host b { file "/etc/hosts" "none"; exec ["true"]; run "exec sleep 1001"; after a }
host c { run "exec sleep 1002" }
link a -- lan
link b -- lan
""",
        edited="""\
bridge lan { subnet 10.0.1.0/24 }
host a {
  file "/etc/new/conf" "two" { mode "0600" }
  bind "/usr" -> "/opt/bound" ro
  sysctl "net.ipv4.tcp_ecn" 2
  exec "true"
  exec "hostname"
  run ["sleep", "1000"]
  ready "true"
  ready log ""
}
host b { run "exec sleep 2001"; after a }
host c { file "/etc/motd" "new"; exec ["true"] }
link a -- lan
link b -- lan
""",
    ),
}
LABS["uplinks"] = SweepLab(
    text="""\
uplink wan { subnet 10.9.0.0/24; publish 8080:80 to a }
uplink lan { interface "enp3s0" { takeover on } }
bridge x
overlay o { vni 5; remote 192.0.3.9; vtep "wlan0" -- x }
host a { masquerade eth0 }
link a -- wan
""",
    edited="""\
uplink wan { subnet 10.9.0.0/24; publish 8080:81 to a; mtu 1400 }
uplink air { interface "wlan0" { mode macvlan } }
bridge x
overlay o { vni 5; remote 192.0.3.8; ttl 9; vtep "wlan0" -- x }
host a
link a -- wan
link a:air -- air { mtu 1400 }
""",
    every=4,
)

LABS["interfaces"] = SweepLab(
    text="""\
bridge sw
host a {
  forward on
  interface b0 { bond [e0, e1]; address 10.0.0.1/24 }
  interface v10 { vlan 10 on b0; address 10.0.10.1/24 }
  interface red { vrf 10 [x] }
  interface d0 { dummy; address 10.9.0.1/32 }
  route default via 10.1.0.2 vrf red
}
host b { interface v10 { vlan 10 on eth0; address 10.0.10.2/24 } }
link a:e0 -- sw { vlan 1; trunk 10 }
link a:e1 -- sw { vlan 1; trunk 10 }
link b -- sw { trunk 10 }
link a:x 10.1.0.1/24 -- b:x 10.1.0.2/24
""",
    edited="""\
bridge sw
host a {
  forward on
  interface b0 { bond [e0, e1] { miimon 50ms; primary e1 }; address 10.0.0.1/24; mtu 1400 }
  interface v10 { vlan 10 on b0; address 10.0.10.3/24 }
  interface v20 { vlan 20 on b0 }
  interface red { vrf 20 [x] }
  route default via 10.1.0.2 vrf red
}
host b { interface v10 { vlan 11 on eth0; address 10.0.10.2/24 } }
link a:e0 -- sw { vlan 1; trunk [10, 20] }
link a:e1 -- sw { vlan 1; trunk 10 }
link b -- sw { trunk 11 }
link a:x 10.1.0.1/24 -- b:x 10.1.0.2/24
""",
)
"""It takes a kernel with VLANs, bonds, VRFs and dummies."""


LABS["vms"] = SweepLab(
    text="""\
host a
vm v { memory 32MiB { hugepages 2MiB }; cpu-weight 100; disk d { size 1MiB }; cloud-init { }; after a; ready log "" }
vm x { memory 32MiB }
link a 10.0.0.1/24 -- v:eth0 10.0.0.2/24
link a:x0 10.0.1.1/24 -- x:eth0 10.0.1.2/24
link a:x1 10.0.2.1/24 -- x:eth1 10.0.2.2/24
""",
    edited="""\
host a
vm v { memory 32MiB { hugepages 2MiB }; cpu-weight 200; disk d { size 1MiB }; cloud-init { }; ready log "" within 1s }
vm w { memory 32MiB }
vm x { memory 32MiB }
link a:x0 10.0.1.1/24 -- x:eth0 10.0.1.2/24
link a:x2 10.0.3.1/24 -- x:eth2 10.0.3.2/24
""",
    more=(Capacity(id="lab/capacity", vcpus=1, memory=32768, limit=10**6),),
    more_edited=(Capacity(id="lab/capacity", vcpus=2, memory=65536, limit=10**6),),
    apart=False,
    every=9,
    daemons=("hypervisor",),
)


_SHELL = 'image "vtopo-test/busybox:1"; pull never'
LABS["containers"] = SweepLab(
    text=f"""\
host a
container c {{
  {_SHELL}
  memory 64MiB
  volume data -> "/data"
  file "/etc/conf" "one"
  sysctl "net.ipv4.tcp_ecn" 1
  exec "true"
  run "exec sleep 1000"
  ready "true"
}}
link a 10.0.0.1/24 -- c 10.0.0.2/24
""",
    edited=f"""\
host a
container c {{
  {_SHELL}
  memory 32MiB
  file "/etc/conf" "two"
  sysctl "net.ipv4.tcp_ecn" 2
  exec "true"
  run "exec sleep 2000"
  ready "true"
}}
container d {{ {_SHELL}; after c }}
link a 10.0.0.1/24 -- d 10.0.0.2/24
""",
    apart=False,
    every=29,
    daemons=("engine",),
)


def compiled(text: str, name: str) -> tuple[Resource, ...]:
    """What the lab of a text compiles to, if it bears this name."""
    checked = check_source(Source("sweep.vlab", f"lab {name}\n{text}"))
    assert checked.lab is not None, checked.diagnostics
    return compile_lab(checked.lab)


def both(lab: SweepLab, name: str = "sweep") -> tuple[Sequence[Resource], Sequence[Resource]]:
    """A lab's resources before and after its edit."""
    more, more_edited = (tuple(map(_placed, resources)) for resources in (lab.more, lab.more_edited))
    return (*compiled(lab.text, name), *more), (*compiled(lab.edited, name), *more_edited)


def _placed(resource: Resource) -> Resource:
    """A resource that no text makes, as if the first line of one made it."""
    return dataclasses.replace(resource, origin=Range("sweep.vlab", 2, 1, 2, 7))


def lacking(lab: SweepLab) -> str:
    """What this kernel has not got of what a lab needs; empty if it has all."""
    from vtopo.backends.features import unable

    return next((failed.reason for resources in both(lab) for failed in unable(resources)), "")


def kinds(lab: SweepLab) -> frozenset[str]:
    """The kinds of resources in a lab."""
    before, after = both(lab)
    return frozenset(r.kind for r in (*before, *after))
