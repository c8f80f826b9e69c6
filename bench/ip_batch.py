"""`ip -batch`: the same namespaces, links and addresses by iproute2 alone, as far as it can.

Its hosts are network namespaces and nothing else: no process, no root, no name of their own. What stands inside a
namespace is set by an `ip` of its own there (`netns exec` of one batch), since a batch works in one namespace.
"""

from collections.abc import Iterator
from pathlib import Path

from bench.labs import PORTS_PER_BRIDGE, Shape, link_addresses
from bench.record import Contender, Figure, Measurement
from bench.session import Session

# Names under /run/netns are to be this run's own, so it gets a /run of its own.
_SCRIPT = 'mount -t tmpfs ip /run && ip -batch "$1" >&2 && echo up && read order && ip -batch "$2" >&2'


class IpBatch:
    """iproute2 in namespaces of its own, which end with it."""

    contender = Contender.IP_BATCH

    def __init__(self, scratch: Path, timeout: float) -> None:
        self._scratch = scratch
        self._timeout = timeout

    def measure(self, shape: Shape, size: int) -> Iterator[Measurement]:
        """One lab up and down, from the start of the process to the end of the batch."""
        up, down = self._write(shape, size)
        command = ["unshare", "--net", "--mount", "sh", "-c", _SCRIPT, "sh", str(up), str(down)]
        with Session(command, self._timeout) as session:
            seconds, _ = session.up()
            yield Measurement(self.contender, shape.value, size, Figure.UP, seconds)
            seconds, _ = session.down()
            yield Measurement(self.contender, shape.value, size, Figure.DOWN, seconds)

    def _write(self, shape: Shape, size: int) -> tuple[Path, Path]:
        """The batches, written before the clock starts."""
        folder = self._scratch / f"ip-{shape.value}-{size}"
        folder.mkdir(exist_ok=True)
        links, inside = _ring(size) if shape is Shape.RING else _star(size)
        up = [f"netns add h{host}" for host in range(1, size + 1)] + links
        for host, lines in enumerate(inside, 1):
            batch = folder / f"h{host}"
            batch.write_text("\n".join(["link set lo up", *lines]) + "\n")
            up.append(f"netns exec h{host} ip -batch {batch}")
        down = [f"netns del h{host}" for host in range(1, size + 1)]
        (folder / "up").write_text("\n".join(up) + "\n")
        (folder / "down").write_text("\n".join(down) + "\n")
        return folder / "up", folder / "down"


def _ring(hosts: int) -> tuple[list[str], list[list[str]]]:
    """The links, and what each host does inside."""
    links: list[str] = []
    inside: list[list[str]] = [[] for _ in range(hosts)]
    for number in range(hosts):
        peer = (number + 1) % hosts
        links.append(f"link add eth1 netns h{number + 1} up type veth peer name eth0 netns h{peer + 1}")
        left, right = link_addresses(number)
        inside[number].append(f"addr add {left}/31 dev eth1")
        inside[peer] += ["link set eth0 up", f"addr add {right}/31 dev eth0"]
    return links, inside


def _star(hosts: int) -> tuple[list[str], list[list[str]]]:
    """The bridges and links, and what each host does inside."""
    links: list[str] = []
    inside: list[list[str]] = []
    for number in range(hosts):
        bridge, port = divmod(number, PORTS_PER_BRIDGE)
        if port == 0:
            links += [f"link add s{bridge} type bridge", f"link set s{bridge} up"]
        end = f"p{number} master s{bridge} up"
        links.append(f"link add {end} type veth peer name eth0 netns h{number + 1}")
        inside.append(["link set eth0 up", f"addr add 10.{bridge}.0.{port + 1}/16 dev eth0"])
    return links, inside
