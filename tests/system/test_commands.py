"""What the commands print, take and end with; the hosts that `exec` enters are machines of their own."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from cli import LABS, Vtopo, with_lab_name

TEXT = """\
host r { bridge br; host inner; link inner -- br }
host a
bridge lan { subnet 10.0.0.0/24; ageing 300s }
link a -- lan
link r:up -- lan
expect a reaches r
"""

# exec


@pytest.fixture
def running(vtopo: Vtopo) -> Vtopo:
    vtopo("up", vtopo.write(TEXT))
    return vtopo


def test_exec_ends_as_its_command_does(running: Vtopo) -> None:
    running.exec("a", "true", status=0)
    running.exec("a", "sh", "-c", "exit 7", status=7)
    running.exec("a", "sh", "-c", "kill -TERM $$", status=143)
    running.exec("a", "sh", "-c", "kill -KILL $$", status=137)
    assert "nonesuch: command not found" in running.exec("a", "nonesuch", status=127).err
    assert "Permission denied" in running.exec("a", "/etc/hostname", status=126).err


def test_exec_passes_input_and_output_through(running: Vtopo) -> None:
    done = running.exec("a", "sh", "-c", "tr a-z A-Z; echo aside >&2", stdin="some words\n")
    assert (done.out, done.err) == ("SOME WORDS\n", "aside\n")
    assert running.exec("a", "wc", "-c", stdin=bytes(200_000)).out.strip() == "200000"
    assert running.exec("a", "echo", "--json", "-q", "--lab").out == "--json -q --lab\n"


def test_exec_loads_no_more_than_it_takes(running: Vtopo) -> None:
    argv = [
        sys.executable,
        "-X",
        "importtime",
        "-c",
        "from vtopo.cli.entry import main; main()",
        "exec",
        "--lab",
        running.lab,
        "a",
        "--",
        "hostname",
    ]
    done = subprocess.run(argv, env=running.environment(), capture_output=True, text=True, check=True)
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert done.stdout == "a\n"
    assert "vtopo.backends.enter" in loaded
    assert not loaded & {"click", "vtopo.compile.resources", "vtopo.model.lab", "vtopo.lang.ast", "pyroute2"}
    assert not loaded & {"contextlib", "dataclasses", "enum", "pathlib", "sqlite3", "typing"}
    # What os.execvp loads, and once in the host that would be out of the host's root.
    assert "warnings" not in loaded


def test_exec_goes_by_records_that_nobody_else_may_write(running: Vtopo) -> None:
    running.state.chmod(0o777)
    refused = running.exec("a", "true", status=1)
    assert "others" in refused.err or "writ" in refused.err


def test_exec_says_which_hosts_there_are(running: Vtopo) -> None:
    assert "did you mean `r.inner`?" in running.exec("r.iner", "true", status=1).err
    assert (
        "is a bridge; only hosts, containers and VMs run commands"
        in running.exec("lan", "true", status=1).err
    )
    assert (
        "is a bridge; only hosts, containers and VMs run commands"
        in running.exec("r.br", "true", status=1).err
    )


# What hosts are


def test_a_host_has_its_own_name_processes_and_files(running: Vtopo) -> None:
    own = Path(f"/etc/{running.lab}")
    assert running.exec("a", "hostname").out == "a\n"
    assert running.exec("r.inner", "hostname").out == "r.inner\n"
    seen = running.exec("a", "ps", "-A", "-o", "pid=,comm=").out.split()
    assert seen[0::2][0] == "1"
    assert seen[1::2] == ["vtopo-init", "ps"]
    running.exec("a", "sh", "-c", f"echo inside > {own} && rm /etc/passwd && cat {own}")
    assert not own.exists()
    assert Path("/etc/passwd").exists()
    running.exec("a", "cat", str(own))
    running.exec("r", "cat", str(own), status=1)


def test_an_orphan_inside_is_reaped(running: Vtopo) -> None:
    running.exec("a", "sh", "-c", "(sleep 0.1 &) ; exit 0")
    running.exec("a", "sleep", "0.4")
    assert "sleep" not in running.exec("a", "ps", "-A", "-o", "stat=,comm=").out


def test_a_host_has_no_file_of_its_maker_open(running: Vtopo) -> None:
    for node in ("a", "r", "r.inner"):
        files = {str(fd.readlink()) for fd in Path(f"/proc/{running.node(node).pid}/fd").iterdir()}
        assert files <= {"/dev/null"}
    assert running.exec("a", "sh", "-c", "ls /proc/self/fd").out.split() == ["0", "1", "2", "3"]


def test_a_host_sees_no_network_but_its_links(running: Vtopo) -> None:
    assert set(running.node("a").links()) == {"lo", "eth0"}
    assert set(running.node("r.inner").links()) == {"lo", "eth0"}
    assert set(running.node("r").links()) == {"lo", "br", "br.eth0", "up"}
    assert "UP" in running.node("a").links()["lo"]["flags"]


# What commands print


def test_ls_status_and_up_in_json(vtopo: Vtopo) -> None:
    lab = vtopo.write(TEXT)
    *events, made = vtopo("up", "--json", lab).events
    assert (made["event"], made["lab"], made["ok"], made["changed"]) == ("summary", vtopo.lab, True, True)
    done = [e["id"] for e in events if e["event"] == "done"]
    assert sorted(done) == sorted(e["id"] for e in events if e["event"] == "start")
    assert made["counts"]["create"] == len(set(done)) > 0
    (row,) = (row for row in vtopo("ls", "--json").json["labs"] if row["lab"] == vtopo.lab)
    assert (row["state"], row["file"]) == ("up", str(lab))
    status = vtopo("status", "--json", vtopo.lab).json
    nodes = {n["node"]: (n["kind"], n["state"], n["addresses"]) for n in status["nodes"]}
    assert nodes == {
        "r": ("host", "up", ["10.0.0.2/24"]),
        "r.inner": ("host", "up", []),
        "a": ("host", "up", ["10.0.0.1/24"]),
        "lan": ("bridge", "up", []),
        "r.br": ("bridge", "up", []),
    }
    assert status["drift"] == []
    assert vtopo("down", "--json", lab).json == {"down": [vtopo.lab]}


def test_a_plan_is_a_graph_of_steps_with_reasons(vtopo: Vtopo) -> None:
    plan = vtopo("plan", "--json", vtopo.write(TEXT)).json
    assert plan["lab"] == vtopo.lab
    assert plan["summary"]["create"] == len(plan["steps"])
    for number, step in enumerate(plan["steps"]):
        assert step["action"] == "create"
        assert step["reason"]
        assert all(before != number for before in step["after"])
    ids = [step["id"] for step in plan["steps"]]
    (veth,) = (step for step in plan["steps"] if step["id"] == "a:eth0--lan:eth0/veth")
    assert {ids[at] for at in veth["after"]} == {"a/host", "fabric/netns", "lan/bridge"}
    text = vtopo("plan", f"{vtopo.lab}.vlab").out
    assert "a:eth0--lan:eth0/veth" in text


def test_check_of_the_issues_three_errors(vtopo: Vtopo) -> None:
    text = "host a\nlink a -- b\nlink a:eth0 10.0.0.300/24 -- c\n"
    checked = vtopo("check", "-", stdin=text, status=2)
    assert checked.err.count("error[E") == 3
    for place in ("<stdin>:2:11", "<stdin>:3:13", "<stdin>:3:30"):
        assert f"--> {place}" in checked.err
    assert "3 | link a:eth0 10.0.0.300/24 -- c\n   |             ^^^^^^^^^^^^^ " in checked.err
    assert checked.err.endswith("<stdin>: 3 errors\n")

    found = vtopo("check", "--json", "-", stdin=text, status=2).json["diagnostics"]
    places = {(d["range"]["start"]["line"], d["range"]["start"]["character"]) for d in found}
    assert places == {(1, 10), (2, 12), (2, 29)}
    assert {d["severity"] for d in found} == {"error"}
    assert all(d["code"].startswith("E") and d["message"] for d in found)


def test_compile_writes_the_same_bytes_each_time(vtopo: Vtopo) -> None:
    lab = LABS / "fabric.vlab"
    for folder, seed in (("one", "1"), ("two", "2")):
        vtopo("compile", lab, "-o", folder, env={"PYTHONHASHSEED": seed})
    one, two = ({f.name: f.read_bytes() for f in (vtopo.folder / d).iterdir()} for d in ("one", "two"))
    assert one == two
    assert set(one) == {"lab.json", "plan.json", "links.json", "topology.dot"}
    assert json.loads(one["lab.json"])["name"] == "fabric"
    assert {link["kind"] for link in json.loads(one["links.json"])["links"]} == {
        *("bridge", "veth", "vxlan", "flood", "address")
    }


def test_a_graph_in_dot_needs_no_program(vtopo: Vtopo) -> None:
    dot = vtopo("graph", LABS / "overlay.vlab", env={"PATH": "/nonexistent"}).out
    assert dot.startswith("graph overlay {")
    vtopo("graph", LABS / "overlay.vlab", "-o", "x.dot", env={"PATH": "/nonexistent"})
    assert (vtopo.folder / "x.dot").read_text().strip() == dot.strip()
    missing = vtopo("graph", LABS / "overlay.vlab", "-o", "x.svg", env={"PATH": "/nonexistent"}, status=1)
    assert "apt install graphviz" in missing.err
    assert not (vtopo.folder / "x.svg").exists()


@pytest.mark.skipif(shutil.which("dot") is None, reason="needs Graphviz' dot")
def test_a_graph_is_drawn_by_its_suffix(vtopo: Vtopo) -> None:
    for suffix in ("svg", "png", "pdf"):
        vtopo("graph", LABS / "overlay.vlab", "-o", f"x.{suffix}")
    texts = {e.text for e in ElementTree.parse(vtopo.folder / "x.svg").iter() if e.text}
    assert {"a", "b", "br0", "host1", "host2"} <= texts
    png = (vtopo.folder / "x.png").read_bytes()
    assert png.startswith(b"\x89PNG")
    assert min(struct.unpack_from("!II", png, 16)) > 100
    assert (vtopo.folder / "x.pdf").read_bytes().startswith(b"%PDF")


def test_a_graph_of_an_unknown_suffix_says_which_there_are(vtopo: Vtopo) -> None:
    for name in ("x.foo", "x"):
        refused = vtopo("graph", LABS / "overlay.vlab", "-o", name, status=2)
        assert ".svg, .png, .pdf, .dot" in refused.err
        assert not (vtopo.folder / name).exists()


# Input that is no lab


def test_what_cannot_be_read_is_told_in_one_line(vtopo: Vtopo) -> None:
    (vtopo.folder / "binary.vlab").write_bytes(bytes(range(256)) * 40)
    (vtopo.folder / "latin.vlab").write_bytes("host a\n# Zürich\n".encode("latin-1"))
    (vtopo.folder / "huge.vlab").write_bytes(b"# long\n" * 1_600_000)
    (vtopo.folder / "folder.vlab").mkdir()
    for name, why in (
        ("missing.vlab", "no such file or directory"),
        ("folder.vlab", "is a directory"),
        ("binary.vlab", "not UTF-8"),
        ("latin.vlab", "latin.vlab: line 2 is not UTF-8"),
        ("huge.vlab", "larger than 10 MB"),
    ):
        refused = vtopo("check", name, status=2)
        assert why in refused.err
        assert refused.err.count("\n") == 1
    for command in ("up", "plan", "graph", "test", "down"):
        assert "missing.vlab: no such file" in vtopo(command, "missing.vlab", status=2).err.lower()


def test_line_ends_and_marks_of_other_systems_are_read(vtopo: Vtopo) -> None:
    text = f"lab {vtopo.lab}\nhost a\nhost b\nlink a -- c\n"
    expected = vtopo("check", "-", stdin=text, status=2).err
    assert "<stdin>:4:11" in expected
    assert vtopo("check", "-", stdin=text.replace("\n", "\r\n"), status=2).err == expected
    assert vtopo("check", "-", stdin=b"\xef\xbb\xbf" + text.encode(), status=2).err == expected


def test_an_empty_lab_compiles_and_cannot_be_up(vtopo: Vtopo) -> None:
    (vtopo.folder / "empty.vlab").write_text("")
    assert "empty" in vtopo("check", "empty.vlab").out
    assert "declares no node" in vtopo("up", "empty.vlab", status=2).err
    assert not vtopo.names()


def test_wrong_usage_says_what_is_right(vtopo: Vtopo) -> None:
    assert "did you mean `check`?" in vtopo("chek", status=2).err
    assert "--exit-code" in vtopo("plan", "--exitcode", "x.vlab", status=2).err
    assert "Missing argument" in vtopo("up", status=2).err
    for command in ("up", "down", "exec", "graph"):
        assert "Example:" in vtopo(command, "--help").out


def test_a_reader_that_goes_away_is_no_accident(vtopo: Vtopo) -> None:
    with vtopo.start("plan", "--json", LABS / "campus.vlab") as process:
        assert process.stdout
        assert process.stderr
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b""


def test_nobody_but_its_owner_touches_a_lab(vtopo: Vtopo) -> None:
    for command in (("up", str(LABS / "quickstart.vlab")), ("down", "x"), ("exec", "a", "true")):
        done = subprocess.run(
            ["setpriv", "--reuid", "65534", "--clear-groups", *vtopo.argv(*command)],
            env=vtopo.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr.count("\n")) == (1, 1), done
        assert "Permission denied; run as its owner, or set VTOPO_STATE_DIR" in done.stderr


def test_the_lab_of_a_file_without_a_name_is_the_files(vtopo: Vtopo) -> None:
    copy = with_lab_name(LABS / "overlay.vlab", vtopo.lab, vtopo.folder)
    assert copy.read_text().startswith(f"lab {vtopo.lab}\n")
    assert vtopo("plan", "--json", LABS / "overlay.vlab").json["lab"] == "overlay"
