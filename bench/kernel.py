"""Waits until the kernel has finished taking dropped network namespaces apart.

It does so in the background, one batch after the other. A namespace dropped now is in the last batch, so once the
far end of a veth that lived in it has vanished, all that were dropped before are gone too.
"""

import time

from bench.processes import run

_PROBE = """
unshare --net sleep 60 & far=$!
trap 'kill $far 2>/dev/null' EXIT
while [ "$(readlink /proc/$far/ns/net)" = "$(readlink /proc/$$/ns/net)" ]; do sleep 0.005; done
ip link add near type veth peer name far netns $far || exit
kill $far
wait $far
while [ -e /sys/class/net/near ]; do sleep 0.005; done
exit 0
"""


def drain(timeout: float = 60.0) -> float:
    """Seconds until all namespaces dropped before the call are gone; the probe itself costs some 50 ms."""
    start = time.monotonic()
    run(["unshare", "--net", "--mount", "sh", "-c", "mount -t sysfs sysfs /sys\n" + _PROBE], timeout)
    return time.monotonic() - start
