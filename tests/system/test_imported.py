"""What `vtopo import` makes of the files of other tools, brought up for real."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import docker
from cli import Vtopo
from containers import free_port
from engine import IMAGE

COMPOSE = """\
services:
  web:
    image: {image}
    command: sh -c "grep -w app_server /etc/hosts && exec httpd -f -p 80 -h /site"
    ports: ["{port}:80"]
    volumes: ["./site:/site:ro"]
    depends_on:
      app_server: {{condition: service_healthy}}
    networks: [front]
  app_server:
    image: {image}
    environment: {{DB_HOST: db, DB_PORT: 5432}}
    command: ["sh", "-c", "until wget -qO /got $${{DB_HOST}}:$${{DB_PORT}}/log; do sleep 0.1; done; exec sleep 1000"]
    depends_on: [db]
    healthcheck: {{test: test -s /got, interval: 1s, retries: 60}}
    networks: [front, back]
    init: true
  db:
    image: {image}
    command: sh -c "echo from the volume >> /data/log; exec httpd -f -p 5432 -h /data"
    volumes: ["data:/data"]
    healthcheck: {{test: ["CMD", "wget", "-qO-", "localhost:5432/log"], interval: 1s, retries: 60}}
    networks: [back]
volumes: {{data: }}
networks: {{front: , back: }}
"""
CONTAINERLAB = """\
topology:
  kinds:
    linux: {{image: "{image}", restart-policy: "no"}}
  nodes:
    r1:
      kind: linux
      sysctls: {{net.ipv4.ip_forward: 1}}
      exec: [ip addr add 10.0.1.1/24 dev eth1, ip addr add 10.0.2.1/24 dev eth2]
    h1:
      kind: linux
      exec: [ip addr add 10.0.1.2/24 dev eth1, ip route add 10.0.2.0/24 via 10.0.1.1]
      healthcheck: {{test: ["CMD-SHELL", "ip addr | grep 10.0.1.2"], interval: 1, retries: 60}}
    h2:
      kind: linux
      env: {{WHO: the second}}
      ports: ["{port}:80"]
      cmd: httpd -f -p 80 -h /site
      binds: ["site:/site:ro"]
      exec:
        - ip addr add 10.0.2.2/24 dev eth1
        - ip route add 10.0.1.0/24 via 10.0.2.1
        - sh -c 'echo 10.0.1.2 first >> /etc/hosts'
      stages: {{create: {{wait-for: [{{node: h1, stage: healthy}}]}}}}
  links:
    - endpoints: ["h1:eth1", "r1:eth1"]
    - endpoints: ["r1:eth2", "h2:eth1"]
"""


def imported(vtopo: Vtopo, tool: str, text: str, port: int) -> Path:
    """The lab of a file, with a folder `site` beside it."""
    site = vtopo.folder / "site"
    site.mkdir()
    (site / "index.html").write_text("hello\n")
    file = vtopo.folder / f"{tool}.yaml"
    file.write_text(f"name: {vtopo.lab}\n{text.format(image=IMAGE, port=port)}")
    lab = vtopo.folder / f"{vtopo.lab}.vlab"
    vtopo("import", tool, file, "-o", lab)
    return lab


def page(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30) as answer:
        return answer.read().decode()  # type: ignore[no-any-return]


def test_a_compose_file_comes_up_with_its_names_order_ports_and_volumes(
    vtopo: Vtopo, engine: docker.APIClient
) -> None:
    port = free_port()
    lab = imported(vtopo, "compose", COMPOSE, port)
    vtopo("up", lab)
    assert page(port) == "hello\n"
    assert vtopo("exec", "--lab", vtopo.lab, "app_server", "--", "cat", "/got").out == "from the volume\n"
    told = [engine.inspect_container(f"vtopo.{vtopo.lab}.{n}")["State"] for n in ("db", "app_server", "web")]
    assert [t["StartedAt"] for t in told] == sorted(t["StartedAt"] for t in told)
    assert "nothing to do" in vtopo("up", lab).out
    assert "# init: true" in lab.read_text()


def test_a_containerlab_topology_comes_up_with_its_links_commands_and_ports(
    vtopo: Vtopo, engine: docker.APIClient
) -> None:
    port = free_port()
    lab = imported(vtopo, "containerlab", CONTAINERLAB, port)
    text = lab.read_text()
    assert "privileged on" in text
    lab.write_text(
        text.replace("privileged on", "cap-add NET_ADMIN")
    )  # a test machine's root may lack rights
    vtopo("up", lab)
    assert page(port) == "hello\n"
    reached = vtopo("exec", "--lab", vtopo.lab, "h2", "--", "sh", "-c", "ping -c1 -W9 first && echo $WHO").out
    assert ("ttl=63" in reached, reached.splitlines()[-1]) == (True, "the second")
    assert "nothing to do" in vtopo("up", lab).out
