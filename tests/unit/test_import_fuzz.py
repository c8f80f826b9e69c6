"""Random YAML in the shapes of Compose files and containerlab topologies: whatever comes, the import says an error or
writes a lab that parses and is canonical, in which every key of the file stands.

`VTOPO_FUZZ=20000` sets how many are tried of each.
"""

from __future__ import annotations

import itertools
import json
import os
import re

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vtopo.compile.frontend import check_source
from vtopo.importing.compose import import_compose
from vtopo.importing.containerlab import import_containerlab
from vtopo.lang.diagnostics import Diagnostics
from vtopo.lang.format import canonical
from vtopo.lang.source import Source

TRIES = int(os.environ.get("VTOPO_FUZZ", "300")) // 6
BROAD = settings(max_examples=TRIES, deadline=None, suppress_health_check=list(HealthCheck))

TEXTS = st.one_of(
    st.sampled_from(
        [
            *(
                "a",
                "b",
                "web",
                "db",
                "host",
                "my.app",
                "1st",
                "",
                "~",
                "no",
                "true",
                "on",
                "-1",
                "0",
                "3",
                "0.5",
                "1e9",
            ),
            *(
                "512m",
                "1g",
                "10kb",
                "99999999999999999999",
                "1m30s",
                "5",
                "alpine:3",
                "a/b@sha256:00",
                "UPPER case",
            ),
            *(
                "8080:80",
                "53:53/udp",
                "127.0.0.1:80:80",
                "[::1]:1:1",
                "1-3:1-3",
                "9-1",
                "70000:1",
                "::",
                "80",
                ":::",
            ),
            *(
                "${X}",
                "${X:-y}",
                "${X:?no}",
                "${X:+z}",
                "$$",
                "$${",
                "${",
                "$PWD/x",
                "${IMG:=a}",
                "${a-b-c}",
                "$X$Y{",
            ),
            *(
                "./x:/y",
                "/a:/b:ro,z",
                "data:/d",
                "/only",
                "~/.ssh:/s",
                "a:b:c:d",
                "x:/../..",
                "x:/",
                "c:\\w:/w",
            ),
            *(
                "A=b",
                "A",
                "=",
                "A=",
                "discovery.type=x",
                "net.ipv4.ip_forward=1",
                "kernel.x=1",
                "NET_ADMIN",
                "ALL",
            ),
            *(
                "10.0.0.0/24",
                "10.0.0.7",
                "fd00::/64",
                "fd00::5",
                "0.0.0.0/0",
                "10.0.0.0/31",
                "224.0.0.1",
                "fe80::1%e",
            ),
            *(
                "02:00:00:00:00:01",
                "01:00:00:00:00:00",
                "00:00:00:00:00:00",
                "CMD",
                "CMD-SHELL",
                "NONE",
                "curl x",
            ),
            *(
                "a:eth1",
                "b:eth0",
                "a:ethernet-1/1",
                "b:a name",
                "host:e1",
                "mgmt-net:x",
                "c:eth1",
                ":",
                "a:lo",
                'a:"q',
            ),
            *(
                "service:web",
                "container:a",
                "host",
                "none",
                "bridge",
                "linux",
                "nokia_srlinux",
                "ext-container",
                "g",
            ),
            *(
                "service_healthy",
                "service_completed_successfully",
                "healthy",
                "create",
                "on-failure:3",
                "x\n# y\n",
                "\t",
            ),
            *(
                '"',
                "'",
                "\\",
                "#",
                "}",
                "\u2028",
                "é",
                "\r",
                "a" * 200,
                "'a b",
                "http://x",
                "/dev/kvm:/dev/kvm:rw",
            ),
        ]
    ),
    st.text(max_size=8),
)
SCALARS = st.one_of(TEXTS, st.integers(-5, 70000), st.booleans(), st.none(), st.floats(0, 9, allow_nan=False))
SERVICE = [
    *(
        "image",
        "build",
        "command",
        "entrypoint",
        "environment",
        "env_file",
        "ports",
        "expose",
        "volumes",
        "networks",
    ),
    *(
        "network_mode",
        "depends_on",
        "healthcheck",
        "deploy",
        "scale",
        "restart",
        "user",
        "working_dir",
        "labels",
    ),
    *(
        "privileged",
        "cap_add",
        "cap_drop",
        "sysctls",
        "mem_limit",
        "memswap_limit",
        "mem_reservation",
        "cpus",
    ),
    *(
        "cpuset",
        "cpu_shares",
        "cpu_quota",
        "cpu_period",
        "pids_limit",
        "oom_kill_disable",
        "blkio_config",
        "devices",
    ),
    *(
        "secrets",
        "configs",
        "links",
        "container_name",
        "hostname",
        "pull_policy",
        "profiles",
        "extends",
        "tmpfs",
        "x-y",
    ),
]
WORDS = [
    *(
        "test",
        "interval",
        "retries",
        "start_period",
        "start-period",
        "disable",
        "resources",
        "limits",
        "reservations",
    ),
    *(
        "memory",
        "pids",
        "replicas",
        "restart_policy",
        "condition",
        "context",
        "dockerfile",
        "target",
        "published",
    ),
    *(
        "protocol",
        "host_ip",
        "type",
        "source",
        "read_only",
        "uid",
        "mode",
        "ipv4_address",
        "mac_address",
        "aliases",
    ),
    *(
        "interface_name",
        "weight",
        "device_read_bps",
        "path",
        "rate",
        "file",
        "ipam",
        "config",
        "subnet",
        "gateway",
    ),
    *("driver", "internal", "external", "name", "web", "a", "b", "default", "lan", "A", "discovery.type"),
]
NODE = [
    *(
        "kind",
        "group",
        "image",
        "cmd",
        "entrypoint",
        "env",
        "binds",
        "volumes",
        "ports",
        "exec",
        "labels",
        "cpu",
    ),
    *(
        "memory",
        "cpu-set",
        "network-mode",
        "mgmt-ipv4",
        "startup-config",
        "license",
        "type",
        "healthcheck",
        "stages",
    ),
    *("user", "privileged", "restart-policy", "image-pull-policy", "sysctls", "cap-add", "dns", "env-files"),
]
LINK = ["endpoints", "endpoint", "type", "mtu", "ipv4", "ipv6", "vars", "labels", "node", "interface", "mac"]
STAGE = ["create", "healthy", "wait-for", "node", "stage", "exec"]


def values(words: list[str]) -> st.SearchStrategy[object]:
    keys = st.one_of(st.sampled_from(words), TEXTS)
    return st.recursive(
        SCALARS,
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=3)),
        max_leaves=8,
    )


def some(words: list[str], value: st.SearchStrategy[object]) -> st.SearchStrategy[dict[str, object]]:
    return st.dictionaries(st.one_of(st.sampled_from(words), TEXTS), value, max_size=5)


NAMES = ["a", "b", "web", "db", "my.app", "host", "1st", "default", "a-b", "a_b", "x" * 80, "br01|a", "é"]
COMPOSE = st.fixed_dictionaries(
    {"services": st.dictionaries(st.sampled_from(NAMES), some(SERVICE, values(WORDS)), max_size=4)},
    optional={
        "name": SCALARS,
        "networks": some(["a", "lan", "default"], values(WORDS)),
        "volumes": some(["data"], values(WORDS)),
        "secrets": some(["a"], values(WORDS)),
        "x-z": values(WORDS),
        "version": SCALARS,
    },
)
END = st.one_of(
    TEXTS, st.fixed_dictionaries({"node": TEXTS, "interface": TEXTS}, optional={"mac": TEXTS, "ipv4": TEXTS})
)
LINKS = st.lists(
    st.one_of(
        st.fixed_dictionaries(
            {"endpoints": st.lists(END, min_size=2, max_size=2)}, optional={"mtu": SCALARS}
        ),
        st.fixed_dictionaries({"type": st.sampled_from(["dummy", "host", "vxlan"]), "endpoint": END}),
        values(LINK),
    ),
    max_size=4,
)
NODES = some(NODE, values([*STAGE, *WORDS]))
CONTAINERLAB = st.fixed_dictionaries(
    {
        "topology": st.fixed_dictionaries(
            {"nodes": st.dictionaries(st.sampled_from(NAMES), st.one_of(NODES, st.none()), max_size=4)},
            optional={
                "links": LINKS,
                "defaults": NODES,
                "kinds": st.dictionaries(
                    st.sampled_from(["linux", "bridge", "host", "1"]), NODES, max_size=2
                ),
                "groups": st.dictionaries(st.sampled_from(["g", "linux"]), NODES, max_size=2),
            },
        )
    },
    optional={"name": SCALARS, "mgmt": values(WORDS), "prefix": SCALARS},
)


def survives(convert: object, text: str) -> None:
    diagnostics = Diagnostics()
    assert callable(convert)
    imported = convert(Source("other.yaml", text), diagnostics)
    if imported is None:
        assert diagnostics.failed
        return
    again = Diagnostics()
    assert canonical(Source("lab.vlab", imported.text), again) == imported.text, list(again)
    check_source(Source("lab.vlab", imported.text))


@BROAD
@given(COMPOSE, st.booleans())
def test_random_compose_files(tree: object, flow: bool) -> None:
    survives(import_compose, yaml.safe_dump(tree, default_flow_style=flow, allow_unicode=True))


@BROAD
@given(CONTAINERLAB, st.booleans())
def test_random_topologies(tree: object, flow: bool) -> None:
    survives(import_containerlab, yaml.safe_dump(tree, default_flow_style=flow, allow_unicode=True))


@BROAD
@given(st.text(alphabet="ab:-[]{}&*!|>'\"#%@`, \n\t\u2028\x85\0~?<", max_size=60))
def test_random_text(text: str) -> None:
    survives(import_compose, text)
    survives(import_compose, f"services:\n  a:\n    command: {text}")
    survives(import_containerlab, f"topology:\n  nodes:\n    a: {json.dumps(text)}")


def marked(value: object, numbers: itertools.count[int], known: frozenset[str]) -> object:
    """The tree with a mark in place of each text and each key that means nothing to the converter."""
    if isinstance(value, dict):
        names = {key: key if key in known else f"qz{next(numbers)}z" for key in map(str, value)}
        return {names[str(key)]: marked(inner, numbers, known) for key, inner in value.items()}
    if isinstance(value, list):
        return [marked(inner, numbers, known) for inner in value]
    return f"qz{next(numbers)}z"


def drops_nothing(convert: object, tree: object, known: frozenset[str]) -> None:
    text = yaml.safe_dump(marked(tree, itertools.count(), known))
    assert callable(convert)
    imported = convert(Source("other.yaml", text), Diagnostics())
    if imported is not None:
        assert set(re.findall(r"qz\d+z", text)) - set(re.findall(r"qz\d+z", imported.text)) == set(), (
            imported.text
        )


@BROAD
@given(COMPOSE)
def test_nothing_of_a_compose_file_is_dropped(tree: object) -> None:
    drops_nothing(
        import_compose, tree, frozenset({"services", "networks", "volumes", "secrets", *SERVICE, *WORDS})
    )


@BROAD
@given(CONTAINERLAB)
def test_nothing_of_a_topology_is_dropped(tree: object) -> None:
    known = frozenset(
        {"topology", "nodes", "links", "defaults", "kinds", "groups", *NODE, *LINK, *STAGE, *WORDS}
    )
    drops_nothing(import_containerlab, tree, known)
