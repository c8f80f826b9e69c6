"""Words for who it may be that drops what a lab sends, and for the command that would let it pass."""

from __future__ import annotations

from vtopo.backends import nft
from vtopo.backends import nft_messages as m
from vtopo.backends.netlink_socket import NetlinkSocket
from vtopo.compile.machine_names import DEVICE

_FAMILIES = {m.NFPROTO_INET: "inet", m.NFPROTO_IPV4: "ip", m.NFPROTO_IPV6: "ip6"}
_IPTABLES = {m.NFPROTO_IPV4: ("iptables", 4), m.NFPROTO_IPV6: ("ip6tables", 6)}


def advice(socket: NetlinkSocket, device: str, version: int) -> str:
    """What to say where packets from `device` do not pass the machine's firewall."""
    begin = f"this machine's firewall drops what the lab sends over IPv{version} ({device})"
    tables = {name: (family, table) for family, table, name in nft.chains_of_all(socket)}
    if "DOCKER-USER" in tables and _IPTABLES.get(tables["DOCKER-USER"][0], ("", 0))[1] == version:
        return f"{begin}: Docker has the FORWARD chain drop it. {_accepting(version, 'DOCKER-USER')}"
    if any(table == "firewalld" for _, table in tables.values()):
        mend = f"`firewall-cmd --zone=trusted --add-interface={device}` lets it pass"
        return f"{begin}: that is firewalld's doing. {mend}"
    forward = m.HOOKS["forward"]
    for chain in nft.base_chains(socket):
        family = _FAMILIES.get(chain.family, "")
        fits = chain.family == m.NFPROTO_INET or _IPTABLES.get(chain.family, ("", 0))[1] == version
        if chain.hook != forward or not chain.drops or not fits:
            continue
        if chain.family in _IPTABLES and (chain.table, chain.name) == ("filter", "FORWARD"):
            return f"{begin}: its FORWARD chain drops by default. {_accepting(version, 'FORWARD')}"
        place = f"{family} {chain.table} {chain.name}"
        into, out = _nft_commands(place)
        return f"{begin}: the chain {place} of nftables drops by default. `{into}` and `{out}` let it pass"
    return f"{begin}. {_accepting(version, 'FORWARD')}, unless it is another firewall's doing"


def dropping() -> list[tuple[str, str]]:
    """The chains that drop what the machine forwards by default, each with the command that lets uplinks pass."""
    try:
        with nft.opened() as socket:
            names = {name for _, _, name in nft.chains_of_all(socket)}
            found = [c for c in nft.base_chains(socket) if c.hook == m.HOOKS["forward"] and c.drops]
    except OSError:  # nobody may look, or there is no nftables
        return []
    told = []
    for chain in found:
        family = _FAMILIES.get(chain.family, "bridge")
        if chain.family in _IPTABLES and (chain.table, chain.name) == ("filter", "FORWARD"):
            program, version = _IPTABLES[chain.family]
            into = "DOCKER-USER" if version == 4 and "DOCKER-USER" in names else "FORWARD"
            told.append((f"{program}' FORWARD", " && ".join(_commands(version, into))))
        else:
            place = f"{family} {chain.table} {chain.name}"
            told.append((place, " && ".join(_nft_commands(place))))
    return told


def _nft_commands(place: str) -> tuple[str, str]:
    into, out = (f"nft insert rule {place} {way} '{DEVICE}*' accept" for way in ("iifname", "oifname"))
    return into, out


def _commands(version: int, chain: str) -> tuple[str, str]:
    program = "iptables" if version == 4 else "ip6tables"
    into, out = (f"{program} -I {chain} {way} {DEVICE}+ -j ACCEPT" for way in ("-i", "-o"))
    return into, out


def _accepting(version: int, chain: str) -> str:
    into, out = _commands(version, chain)
    return f"`{into}` and `{out}` let the uplinks of all labs pass"
