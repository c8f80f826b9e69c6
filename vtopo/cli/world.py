"""What the commands that touch the world share: backends, the state, which lab is meant, failures in words."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vtopo.cli.errors import FAILED, INTERRUPTED, USAGE, Failure
from vtopo.lang import labname
from vtopo.lang.suggest import did_you_mean

if TYPE_CHECKING:
    from vtopo.backends.base import Backend, Watch
    from vtopo.backends.guest_access import Access
    from vtopo.backends.hypervisor import Hypervisor
    from vtopo.backends.usage import Meter
    from vtopo.backends.zygotes import Zygotes
    from vtopo.cli.console import Console
    from vtopo.compile.resources import Resource
    from vtopo.lang.source import Source
    from vtopo.run.events import RunFailed, StepFailed
    from vtopo.state.folder import StateDir
    from vtopo.state.lock import Holder
    from vtopo.state.store import Records

_MOST_FAILURES = 5


def backends_of(
    lab: str, watch: Watch | None = None, zygotes: Zygotes | None = None, *, ending: bool = False
) -> Sequence[Backend]:
    """The backends that make a lab real, or of one that is `ending`; `watch` is that of the run that they are for."""
    from vtopo.backends import rootless
    from vtopo.backends.namespaces import NamespaceBackend
    from vtopo.backends.netlink import NetlinkBackend

    namespaces = NamespaceBackend(lab, zygotes=zygotes, watch=watch, ending=ending)
    netlink = NetlinkBackend(lab, watch)
    if rootless.inside() or rootless.outside():
        return (namespaces, netlink, *_of_nodes(lab, watch), *_refusals())
    uplinks, limits, containers = _of_the_machine(lab, watch)
    nodes, vms = _of_nodes(lab, watch), _of_vms(lab, watch)
    return (uplinks, namespaces, netlink, limits, containers, *nodes, *vms)


# What a lab has nothing of is not loaded.
_LIMITS = ("cgroup", "member")
_CONTAINERS = ("volume", "container")
_UPLINKS = ("gate", "macvlan", "machine-vxlan")
_DOMAINS = ("capacity", "domain", "power", "guest-ready")
_HUGE_PAGES = ("hugepages",)
_DISKS = ("disk", "seed")


def _of_nodes(lab: str, watch: Watch | None) -> Sequence[Backend]:
    """What is in hosts and containers."""
    from vtopo.backends.later import Later

    def files() -> Backend:
        from vtopo.backends.files import FileBackend

        return FileBackend(lab)

    def life() -> Backend:
        from vtopo.backends.life import LifeBackend

        return LifeBackend(lab, watch=watch)

    def supervisors() -> Sequence[str]:
        from vtopo.backends.marks import supervisor_traces

        return supervisor_traces(lab)

    return (
        Later(("file", "bind"), files, traces=tuple),  # they are in hosts
        Later(
            ("supervisor", "exec", "run", "ready"),
            life,
            slow=("supervisor", "exec", "ready"),
            traces=supervisors,
        ),
    )


def _of_the_machine(lab: str, watch: Watch | None) -> tuple[Backend, Backend, Backend]:
    """What takes root: uplinks, limits, containers."""
    from vtopo.backends.later import Later

    def uplinks() -> Backend:
        from vtopo.backends.uplinks import UplinkBackend

        return UplinkBackend(lab, watch)

    def limits() -> Backend:
        from vtopo.backends.cgroups import CgroupBackend

        return CgroupBackend(lab)

    def containers() -> Backend:
        from vtopo.backends.docker_backend import DockerBackend

        return DockerBackend(lab, watch)

    def groups() -> Sequence[str]:
        from vtopo.backends import cgroup_tree

        return cgroup_tree.traces(cgroup_tree.Tree(lab))

    def of_docker() -> Sequence[str]:
        from vtopo.backends.docker_marks import glance

        return glance(lab)

    return (
        Later(_UPLINKS, uplinks),
        Later(_LIMITS, limits, traces=groups),
        Later(_CONTAINERS, containers, slow=("container",), traces=of_docker),
    )


def _of_vms(lab: str, watch: Watch | None) -> Sequence[Backend]:
    """In the order in which a sweep takes them: what QEMU has open goes after it."""
    from vtopo.backends.later import Later

    hypervisor = functools.cache(lambda: hypervisor_of(lab))

    def domains() -> Backend:
        from vtopo.backends.domains import DomainBackend

        return DomainBackend(lab, hypervisor(), watch=watch)

    def huge_pages() -> Backend:
        from vtopo.backends.hugepages import HugePagesBackend

        return HugePagesBackend(lab)

    def disks() -> Backend:
        from vtopo.backends.disks import DiskBackend

        return DiskBackend(lab, hypervisor())

    def guests() -> Sequence[str]:
        from vtopo.backends.guests import traces

        return traces(lab)

    def files() -> Sequence[str]:
        from vtopo.backends.diskfolder import DiskFolder

        return DiskFolder(lab).traces()

    return (
        Later(_DOMAINS, domains, slow=("domain", "power", "guest-ready"), traces=guests),
        Later(_HUGE_PAGES, huge_pages),
        Later(_DISKS, disks, slow=("disk",), traces=files),
    )


def _refusals() -> Sequence[Backend]:
    """What stands for the backends that need root, where there is none."""
    from vtopo.backends.rootless import NeedsRoot

    vms = (*_DOMAINS, *_HUGE_PAGES, *_DISKS)
    return (
        NeedsRoot(_LIMITS, "to limit a host's memory, CPUs, processes or devices takes"),
        NeedsRoot(_CONTAINERS, "to wire a container into a lab takes"),
        NeedsRoot(_UPLINKS, "to lead out of the lab by the machine's network takes"),
        NeedsRoot(vms, "to wire a virtual machine into a lab by a tap that the system's libvirt makes takes"),
    )


def hypervisor_of(lab: str) -> Hypervisor:
    """The libvirt that has a lab's VMs; BackendError, when it is used, if another one is asked for."""
    from vtopo.backends.base import BackendError
    from vtopo.backends.hypervisor import Hypervisor, chosen_uri, default_uri
    from vtopo.state.store import Store

    def uri() -> str:
        try:
            with Store.open(state_dir(), lab) as store:
                recorded = store.libvirt()
        except FileNotFoundError:
            recorded = ""
        chosen = chosen_uri()
        if recorded and chosen not in ("", recorded):
            raise BackendError(
                f"the VMs of {lab} are at {recorded}, not at {chosen}; `vtopo down {lab}` takes them away there first"
            )
        return recorded or default_uri()

    return Hypervisor(uri)


def access_of(lab: str, records: Records) -> Access:
    """The ways into the guests of a running lab."""
    from vtopo.backends.diskfolder import DiskFolder
    from vtopo.backends.guest_access import Access

    return Access(lab, hypervisor_of(lab), DiskFolder(lab).path, records.resources, records.handles)


def crashed_vms(lab: str) -> frozenset[str]:
    """The VMs of a lab whose guests' kernels have panicked."""
    from vtopo.backends.domains import DomainBackend

    return DomainBackend(lab, hypervisor_of(lab)).crashed()


def with_builds(resources: Sequence[Resource], lab: str) -> Sequence[Resource]:
    """The resources, with the images that are to be built named by what is in their folders now."""
    from vtopo.compile.resources import Container

    if not any(isinstance(r, Container) and r.build is not None for r in resources):
        return resources
    from vtopo.backends.docker_context import sealed

    try:
        return sealed(resources, lab)
    except OSError as e:
        raise Failure(f"nothing can be built from {e.filename}: {e.strerror}", FAILED) from e


def meters_of(lab: str) -> Sequence[Meter]:
    """What reads the usage of a lab's nodes and links."""
    from vtopo.backends.host_meter import HostMeter
    from vtopo.backends.link_meter import LinkMeter
    from vtopo.backends.vm_meter import VmMeter

    return (HostMeter(), VmMeter(lab, lambda: hypervisor_of(lab)), LinkMeter(lab))


def state_dir() -> StateDir:
    """Where this user's records are."""
    from vtopo.state.folder import StateDir

    return StateDir.default()


@contextlib.contextmanager
def failures_in_words(console: Console, sources: Mapping[str, Source]) -> Iterator[None]:
    """Turn what a run raises into a Failure that says what happened, where, and what is left."""
    from vtopo.backends.base import BackendError
    from vtopo.run.events import RunFailed
    from vtopo.state.folder import StateError
    from vtopo.state.lock import LockHeld

    try:
        yield
    except RunFailed as e:
        raise _run_failed(console, e, sources) from e
    except (BackendError, LockHeld, StateError) as e:
        raise Failure(str(e), FAILED) from e


def _run_failed(console: Console, error: RunFailed, sources: Mapping[str, Source]) -> Failure:
    for failure in error.failures[:_MOST_FAILURES]:
        console.note(_step_failed(console, failure, sources) + "\n")
    if len(error.failures) > _MOST_FAILURES:
        console.note(f"and {len(error.failures) - _MOST_FAILURES} more like these\n")
    if error.error and not error.failures:
        console.note(f"{console.style('error', 'error')}: {error.error}")
    if error.interrupted and not error.failures:
        console.note("interrupted")
    console.note(_what_is_left(error))
    return Failure("", INTERRUPTED if error.interrupted else FAILED)


def _what_is_left(error: RunFailed) -> str:
    if error.refused:
        return "nothing was touched"
    if error.kept:
        return "what was made is kept; `vtopo down` removes it"
    if error.left:
        lines = [f"  {failure}" for failure in error.left[:_MOST_FAILURES]]
        more = len(error.left) - _MOST_FAILURES
        lines += [f"  and {more} more"] if more > 0 else []
        why = f" ({error.unrecorded})" if error.unrecorded else ""
        return "\n".join([f"not all could be undone{why}; `vtopo down` tries again. Left:", *lines])
    return "undone: all is as it was before"


def _step_failed(console: Console, failure: StepFailed, sources: Mapping[str, Source]) -> str:
    if failure.origin is None:
        return f"{console.style('error', 'error')}: {failure}"
    from vtopo.lang.diagnostics import REFUSED, Diagnostic
    from vtopo.lang.render import render

    diagnostic = Diagnostic(REFUSED, str(failure), failure.origin, "asked for here")
    return render(diagnostic, sources, console.style)


def say_waiting(console: Console) -> Callable[[Holder | None], None]:
    """A callback that tells who holds the lab while a command waits for it."""

    def tell(holder: Holder | None) -> None:
        console.note(f"waiting for {holder or 'another vtopo'} …")

    return tell


def running_labs(state: StateDir) -> list[str]:
    """The labs that have records, by name; without any, those that only their marks show."""
    if recorded := recorded_labs(state):
        return recorded
    from vtopo.backends.marks import labs_by_marks

    return sorted(labs_by_marks())


def recorded_labs(state: StateDir) -> list[str]:
    """The labs that have records, by name."""
    return sorted(name for name in state.names() if (state.folder(name) / "state.db").exists())


def choose_lab(state: StateDir, wanted: str | None) -> str | None:
    """The lab that is meant: by name or file, else this folder's, else the only one; None if none runs."""
    labs = running_labs(state)
    if wanted is not None:
        name = lab_of_file(wanted) if is_file(wanted) else wanted
        if name in labs or not labs:
            return name
        from vtopo.backends.marks import labs_by_marks

        if name in labs_by_marks():
            return name
        help = did_you_mean(name, labs, f"running: {', '.join(labs)}")
        raise Failure(f"no lab `{name}` is running; {help}")
    if len(labs) <= 1:
        return labs[0] if labs else None
    here = sorted({lab_of_file(str(path)) for path in Path().glob("*.vlab")} & set(labs))
    if len(here) == 1:
        return here[0]
    raise Failure(f"several labs are running, so say which: {', '.join(labs)}", USAGE)


def is_file(wanted: str) -> bool:
    """Whether a lab file is meant, and not a lab's name."""
    return wanted.endswith(".vlab") or "/" in wanted


def lab_of_file(path: str) -> str:
    """The name of the lab that a file describes, though it may not compile."""
    try:
        text = Path(path).read_text("utf-8", errors="replace")
    except OSError as e:
        raise Failure(f"cannot read {path}: {e.strerror}", USAGE) from e
    return labname.guess(text, path)
