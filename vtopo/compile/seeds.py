"""What cloud-init is told of a VM: who it is, its addresses and routes, what it is to have and run.

The source is NoCloud, the network configuration of version 2.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from vtopo.compile import resources as res
from vtopo.compile.cloud_config import user_data
from vtopo.digests import sha256
from vtopo.model.lab import CloudInit, Host, Interface, Life, Vm


def seed(lab: str, host: Host, vm: Vm, ends: Sequence[Interface], life: Life | None) -> res.Seed:
    """The seed of a VM with a `cloud-init` block; what the text says stands in place of what the lab would say.

    `life` is what goes on in it.

    JSON is YAML, so no text can break out of its place.
    """
    said = vm.cloud_init or CloudInit("", "", "")
    user = user_data(said.user_data, life)
    network = said.network_config or _json({"version": 2, "ethernets": dict(_ethernets(host, ends))})
    # cloud-init does its once-only work again when the instance is another one.
    digest = sha256(f"{user}\0{network}".encode()).hexdigest()[:16]
    meta = {"instance-id": f"{lab}-{vm.name}-{digest}", "local-hostname": vm.name.replace(".", "-")}
    return res.Seed(
        id=f"{vm.name}/seed",
        origin=vm.range,
        file=f"{vm.name}.seed.iso",
        user_data=user,
        meta_data=said.meta_data or _json(meta),
        network_config=network,
    )


def _ethernets(host: Host, ends: Sequence[Interface]) -> list[tuple[str, Mapping[str, object]]]:
    """Each NIC by its MAC, since what the guest calls it is its own affair."""
    found: list[tuple[str, Mapping[str, object]]] = []
    for end in ends:
        routes = [
            {"to": str(route.destination), "via": str(route.via)}
            for route in host.routes
            if route.interface == end.name
        ]
        config: dict[str, object] = {
            "match": {"macaddress": end.mac},
            "mtu": end.mtu,
            "addresses": [str(address) for address in end.addresses],
        }
        if routes:
            config["routes"] = routes
        found.append((end.name, config))
    return found


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1) + "\n"
