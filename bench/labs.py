"""The labs that are measured, written as vlab text: a ring, a star, and long files for the compiler alone."""

from enum import Enum
from ipaddress import IPv4Address

PORTS_PER_BRIDGE = 100


class Shape(Enum):
    """What a lab of N hosts looks like; the value is its name on the command line."""

    RING = "ring"
    STAR = "star"


def link_addresses(link: int) -> tuple[IPv4Address, IPv4Address]:
    """The two addresses of a link's own /31, the left end's first; links count from 0."""
    base = IPv4Address("10.0.0.0") + 2 * link
    return base, base + 1


def lab_text(shape: Shape, name: str, hosts: int) -> str:
    """The lab file of one shape with that many hosts."""
    lines = [f"lab {name}", f"host h[1..{hosts}]"]
    lines += _ring_links(hosts) if shape is Shape.RING else _star_links(hosts)
    return "\n".join(lines) + "\n"


def with_mtu(text: str, mtu: int) -> str:
    """The same lab with an MTU on the link in the middle of the file."""
    lines = text.splitlines()
    links = [at for at, line in enumerate(lines) if line.startswith("link ")]
    lines[links[len(links) // 2]] += f" {{ mtu {mtu} }}"
    return "\n".join(lines) + "\n"


def with_a_host(text: str) -> str:
    """The same lab with one more host, linked to its first."""
    return text + "host extra\nlink extra 10.255.255.0/31 -- h[1] 10.255.255.1/31\n"


def with_rates(text: str) -> str:
    """The same lab with a rate on every link, both ways."""
    lines = text.splitlines()
    return (
        "\n".join(f"{line} {{ rate 1Gbit }}" if line.startswith("link ") else line for line in lines) + "\n"
    )


def all_pairs(name: str, hosts: int) -> tuple[str, int]:
    """Hosts on one bridge, each of which is expected to reach each other one, twice; and how many expectations."""
    lines = [f"lab {name}", "bridge lan { subnet 10.0.0.0/16 }", f"host h[1..{hosts}]", "link h[*] -- lan"]
    lines += ["expect h[*] reaches h[*]"] * 2
    return "\n".join(lines) + "\n", 2 * hosts * (hosts - 1)


def written_out(statements: int) -> str:
    """A ring without ranges: half of the statements are hosts, half are links with addresses."""
    hosts = statements // 2
    lines = ["lab written-out", *(f"host h{number}" for number in range(1, hosts + 1))]
    for link in range(hosts):
        left, right = link_addresses(link)
        lines.append(f"link h{link + 1} {left}/31 -- h{(link + 1) % hosts + 1} {right}/31")
    return "\n".join(lines) + "\n"


def _ring_links(hosts: int) -> list[str]:
    lines = []
    for link in range(hosts):
        left, right = link_addresses(link)
        lines.append(f"link h[{link + 1}] {left}/31 -- h[{(link + 1) % hosts + 1}] {right}/31")
    return lines


def _star_links(hosts: int) -> list[str]:
    lines = []
    for number, first in enumerate(range(1, hosts + 1, PORTS_PER_BRIDGE)):
        last = min(first + PORTS_PER_BRIDGE - 1, hosts)
        lines.append(f"bridge sw{number + 1} {{ subnet 10.{number}.0.0/16 }}")
        lines.append(f"link h[{first}..{last}] -- sw{number + 1}")
    return lines
