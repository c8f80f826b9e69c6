"""Labs with daemons, by the command line: they come up in order, are logged, stopped, repaired, and fail whole."""

from __future__ import annotations

from cli import Vtopo

LAB = """\
bridge lan { subnet 10.0.0.0/24 }
host a {
  data asn 65001
  file "/etc/app.conf" "asn ${a.data.asn}"
  exec "cp /etc/app.conf /root/copy"
  run "echo started; exec sleep 1000"
  ready log "started"
}
host b { after a; exec "getent hosts a > /root/a" }
link a -- lan
link b -- lan
"""


def test_a_lab_with_daemons_is_up_in_order_and_stays(vtopo: Vtopo) -> None:
    file = vtopo.write(LAB)
    vtopo("up", file)
    assert vtopo.node("a").run("cat", "/root/copy") == "asn 65001"
    assert vtopo.node("b").run("cat", "/root/a").split() == ["10.0.0.1", "a"]
    assert "nothing to do" in vtopo("up", file).out + vtopo("up", file).err
    assert vtopo("logs", "a").out == "==> exec <==\n" * 0 + "started\n"


def test_a_stopped_node_keeps_its_links_and_up_starts_it_again(vtopo: Vtopo) -> None:
    file = vtopo.write(LAB)
    vtopo("up", file)
    before = vtopo.node("a").addresses("eth0")
    vtopo("node", "a", "stop")
    assert "sleep" not in vtopo.node("a").run("ps", "-A", "-o", "comm=")
    assert vtopo.node("a").addresses("eth0") == before
    assert "state held → running" in vtopo("status", vtopo.lab).out
    vtopo("up", file)
    assert "sleep" in vtopo.node("a").run("ps", "-A", "-o", "comm=")
    vtopo("node", "a", "restart")
    assert vtopo("logs", "a").out.count("started\n") == 3


def test_an_edit_of_a_file_changes_the_file_alone(vtopo: Vtopo) -> None:
    vtopo("up", vtopo.write(LAB))
    pids = vtopo.node("a").run("pgrep", "sleep")
    vtopo("up", vtopo.write(LAB.replace("asn ${", "AS ${")))
    assert vtopo.node("a").run("cat", "/etc/app.conf") == "AS 65001"
    assert vtopo.node("a").run("pgrep", "sleep") == pids


def test_a_node_that_is_never_ready_undoes_up_with_its_last_lines(vtopo: Vtopo) -> None:
    file = vtopo.write(LAB.replace('ready log "started"', 'ready log "never" within 300ms'))
    failed = vtopo("up", file, status=1)
    assert "a is not ready after 0.3 s: no log of it says 'never'; its last log lines:" in failed.err
    assert "    started" in failed.err
    assert ":8:3" in failed.err or ":7:3" in failed.err
    assert vtopo.names() == []


def test_a_daemon_that_ends_at_once_undoes_up(vtopo: Vtopo) -> None:
    failed = vtopo("up", vtopo.write('host a { run "echo no; exit 3" }\n'), status=1)
    assert "exit status 3, 3 times in a row" in failed.err
    assert "    no" in failed.err
    assert vtopo.names() == []
