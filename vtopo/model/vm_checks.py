"""Finds what of a vm contradicts itself on every machine, before any machine is asked."""

from __future__ import annotations

from collections.abc import Sequence

from vtopo.lang.diagnostics import Diagnostics, Label
from vtopo.lang.source import Range
from vtopo.model.draft import NodeDraft
from vtopo.model.properties import Settings


def check(node: NodeDraft, diagnostics: Diagnostics) -> None:
    """Each is told with both of the statements that cannot be together."""
    checks = _Checks(node, diagnostics)
    checks.kernel()
    checks.cpu()
    checks.disks()
    checks.nics()
    checks.hyperv()


class _Checks:
    def __init__(self, node: NodeDraft, diagnostics: Diagnostics) -> None:
        self._node = node
        self._settings = node.settings
        self._diagnostics = diagnostics

    def kernel(self) -> None:
        """An image has its own kernel with all that belongs to it."""
        if self._settings.many("kernel"):
            return
        for name, settings in (("initrd", self._settings), ("cmdline", self._node.late)):
            for setting in settings.many(name):
                help = "give it a `kernel`; what an image boots with is the image's own"
                self._bad(f"`{name}` is of a `kernel`, and `{self._node.name}` has none", setting.range, help)

    def cpu(self) -> None:
        """The machine's caches are shown by the machine's own CPU alone."""
        cpu = self._settings.one("cpu", str)
        if cpu is None or cpu.value == "host-passthrough" or cpu.block is None:
            return
        for cache in cpu.block.many("cache"):
            if cache.value == "passthrough":
                help = "`cache emulate`, or `cpu host-passthrough`"
                self._bad(f"`cpu {cpu.value}` cannot show the machine's caches", cache.range, help)

    def disks(self) -> None:
        """A disk has a size; q35, unlike pc, has no IDE."""
        machine = self._settings.one("machine-type", str)
        for disk in self._settings.many("disk"):
            block = disk.block or Settings()
            if not (block.many("size") or block.many("image")):
                help = f"`disk {disk.value} {{ size 1GiB }}`, or an `image` that it begins as"
                self._bad(f"the disk `{disk.value}` has no size", disk.range, help)
            for bus in block.many("bus"):
                if bus.value == "ide" and machine is not None and "q35" in machine.value:
                    others = [Label(machine.range, "this machine has none")]
                    self._bad("a disk on IDE takes a machine with it", bus.range, "`bus sata`", others)

    def nics(self) -> None:
        """Queues and vhost are virtio's."""
        for nic in self._settings.many("nic"):
            block = nic.block or Settings()
            model = block.one("model", str)
            if model is None or model.value.startswith("virtio"):
                continue
            others = [Label(model.range, "this is another device")]
            several = [("queues", queues) for queues in block.many("queues") if queues.value != 1]
            switched_on = [("vhost", vhost) for vhost in block.many("vhost") if vhost.value]
            for name, setting in (*several, *switched_on):
                self._bad(f"`{name}` is of a virtio NIC", setting.range, "leave out `model`", others)

    def hyperv(self) -> None:
        """QEMU's translator has no Hyper-V."""
        accel, hyperv = self._settings.one("accel", str), self._settings.one("hyperv", bool)
        if hyperv is not None and hyperv.value and accel is not None and accel.value == "tcg":
            others = [Label(accel.range, "this is without KVM")]
            self._bad("`hyperv on` takes KVM", hyperv.range, "leave out one of them", others)

    def _bad(self, message: str, place: Range, help: str, others: Sequence[Label] = ()) -> None:
        self._diagnostics.add("E0221", message, place, others=others, help=help)
