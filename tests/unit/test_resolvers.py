"""Which name servers a host behind an uplink asks."""

from __future__ import annotations

from pathlib import Path

from vtopo.backends.resolvers import NONE, resolv_conf

STUB = "# by systemd-resolved\nnameserver 127.0.0.53\noptions edns0 trust-ad\nsearch example.org\n"


def files(folder: Path, *texts: str) -> tuple[Path, ...]:
    made = []
    for number, text in enumerate(texts):
        path = folder / str(number)
        path.write_text(text)
        made.append(path)
    return tuple(made)


def test_the_machines_own_are_told_as_they_are(tmp_path: Path) -> None:
    text = "nameserver 192.0.2.53\nnameserver 2001:db8::53\nsearch example.org\n"
    assert resolv_conf(files(tmp_path, f"# comment\n{text}nonsense\n", STUB)) == text


def test_a_stub_on_the_loopback_is_passed_over_for_whom_it_asks(tmp_path: Path) -> None:
    asked = "nameserver 192.0.2.1\nnameserver fe80::1%wlan0\nsearch example.org\n"
    assert resolv_conf(files(tmp_path, STUB, asked)) == "nameserver 192.0.2.1\nsearch example.org\n"


def test_without_any_there_are_none(tmp_path: Path) -> None:
    assert resolv_conf((*files(tmp_path, STUB), tmp_path / "absent")) == NONE
