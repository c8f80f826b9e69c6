"""What cloud-init is told of each VM, against golden files; and read again as cloud-init reads it."""

from __future__ import annotations

import email
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_golden import MARK, check, files, split

from vtopo.compile.compiler import compile_lab
from vtopo.compile.resources import Seed

HERE = Path(__file__).parent / "cloud-init"


def seeds(text: str) -> dict[str, Seed]:
    checked = check(files("guests.vlab", split(text)))
    assert checked.lab is not None, checked.diagnostics
    return {r.id.partition("/")[0]: r for r in compile_lab(checked.lab) if isinstance(r, Seed)}


@pytest.fixture(scope="module")
def guests() -> dict[str, Seed]:
    return seeds((HERE / "guests.txt").read_text())


def test_what_cloud_init_is_told(request: pytest.FixtureRequest) -> None:
    path = HERE / "guests.txt"
    text = path.read_text()
    want = split(text)
    for node, seed in seeds(text).items():
        for name in ("user_data", "meta_data", "network_config"):
            want += f"{MARK}{node} {name.replace('_', '-')}\n{getattr(seed, name)}"
    if request.config.getoption("--rewrite-golden"):
        path.write_text(want)
    assert path.read_text() == want, "guests.txt differs; `make golden` rewrites it"


def config(seed: Seed) -> dict[str, Any]:
    assert seed.user_data.startswith("#cloud-config\n")
    found: dict[str, Any] = yaml.safe_load(seed.user_data)
    return found


def test_every_value_comes_out_as_it_went_in(guests: dict[str, Seed]) -> None:
    web = config(guests["web"])
    written = {file["path"]: file for file in web["write_files"]}
    assert written["/etc/motd"]["content"] == 'at 10.0.0.2: "quotes", $(reboot), %d\n'
    assert written["/etc/motd"]["permissions"] == "0600"
    assert written["/etc/web.conf"]["content"] == "listen 10.0.0.2:8080"
    assert written["/etc/sysctl.d/99-vtopo.conf"]["content"].count("\n") == 2
    strict, chown, _, colour, unit, touch = web["runcmd"]
    blue = "COLOUR=deep 'blue'\n# it is"
    assert strict == "set -e"
    assert chown == ["chown", "1000:1000", "/opt/raw"]
    assert colour == ["env", blue, "/bin/sh", "-c", "echo $COLOUR > /root/colour"]
    assert unit[-1] == "vtopo-run-1.service"
    assert touch == ["env", blue, "touch", "/tmp/a b", "}"]
    script = written["/usr/local/lib/vtopo/vtopo-run-1"]["content"].replace("exec env", "printf '<%s>'")
    out = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout
    assert out == f"<{blue}></usr/sbin/webd><-f><it's; reboot>"


def test_the_labs_own_user_data_is_a_part_beside_the_rest(guests: dict[str, Seed]) -> None:
    message = email.message_from_string(guests["both"].user_data)
    own, added = (part.get_payload(decode=True) for part in message.get_payload())  # type: ignore[union-attr]
    assert isinstance(own, bytes)
    assert isinstance(added, bytes)
    assert yaml.safe_load(own)["runcmd"] == [["echo", "both", "--vtopo-0", "ü"]]
    assert yaml.safe_load(added) == {"runcmd": ["set -e", ["/bin/sh", "-c", "true"]]}
    assert guests["both"].network_config == "version: 2\n"


def test_what_else_it_reads_is_yaml_too(guests: dict[str, Seed]) -> None:
    for seed in guests.values():
        assert yaml.safe_load(seed.meta_data)["instance-id"].startswith("guests-")
        assert yaml.safe_load(seed.network_config)["version"] == 2
    ethernet = yaml.safe_load(guests["web"].network_config)["ethernets"]["eth0"]
    assert ethernet["addresses"] == ["10.0.0.2/24"]
    assert ethernet["routes"] == [{"to": "0.0.0.0/0", "via": "10.0.0.1"}]
    assert guests["script"].user_data == "#!/bin/sh\nip address add 10.0.0.4/24 dev eth0\n"
