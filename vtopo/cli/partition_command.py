"""`vtopo partition`: takes down the fewest links that part two groups of nodes."""

from __future__ import annotations

import click

from vtopo.cli.console import Console, with_console
from vtopo.cli.errors import USAGE, Failure
from vtopo.cli.links import link_backends, records_of, running_lab
from vtopo.cli.own_world import enter_world
from vtopo.cli.running import some
from vtopo.cli.world import failures_in_words, state_dir
from vtopo.lang.suggest import did_you_mean


@click.command("partition", epilog="Example:  vtopo partition r1,r2 r3,r4")
@click.option("--lab", help="The lab, where several run.")
@click.argument("group", metavar="NODE,NODE...")
@click.argument("other", metavar="NODE,NODE...")
@with_console(json=False)
def command(console: Console, group: str, other: str, lab: str | None) -> None:
    """Take down the fewest links of a running lab so that no path leads from one group to the other.

    `vtopo heal` brings them back, and so does `up`.
    """
    from vtopo.compile.resources import Veth
    from vtopo.graph.partition import cut
    from vtopo.run import faults

    enter_world()
    one, two = ([name for name in names.split(",") if name] for names in (group, other))
    if both := set(one) & set(two):
        raise Failure(f"`{min(both)}` is in both groups", USAGE)
    if not one or not two:
        raise Failure("a group has a node at least", USAGE)
    with failures_in_words(console, {}):
        name = running_lab(lab)
        backends = link_backends(name)
        records = records_of(name)
        resources = records.resources
        veths = [r for r in resources.values() if isinstance(r, Veth)]
        nodes = {n for veth in veths for ends in faults.nodes_of(veth) for n in ends}
        passing = faults.passing(backends, records, veths)
        links = [(v.id, *ends) for v in passing for ends in faults.nodes_of(v)]
        for asked in (*one, *two):
            if asked not in nodes:
                raise Failure(
                    f"lab `{name}` has no linked node `{asked}`; {did_you_mean(asked, nodes, some(nodes))}"
                )
        tunnels = [
            (r.id.partition("/")[0], r.id.partition(".")[0]) for r in resources.values() if r.kind == "vxlan"
        ]
        cut_links = cut(links, tunnels, one, two)
        if cut_links is None:
            raise Failure("these groups are joined by more than links: a tunnel ends in one of them")
        ids = list(dict.fromkeys(cut_links))  # a LAN that is a cable is two links, and one
        faults.change_links(name, backends, state_dir(), dict.fromkeys(ids, faults.down))
    console.say(
        f"down: {', '.join(id_.removesuffix('/veth') for id_ in ids)}" if ids else "no path leads there"
    )
