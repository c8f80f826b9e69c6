"""Addresses made quickly are, to everybody, those of `ipaddress`."""

import copy
import ipaddress
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtopo.addresses import Interface4, interface, read_interface

ASKED = (
    "ip",
    "network",
    "netmask",
    "hostmask",
    "with_prefixlen",
    "with_netmask",
    "version",
    "max_prefixlen",
    "packed",
)


@given(st.ip_addresses(v=4), st.integers(0, 32))
def test_all_that_can_be_asked_has_the_same_answer(ip: ipaddress.IPv4Address, length: int) -> None:
    ours, theirs = read_interface(f"{ip}/{length}"), ipaddress.ip_interface(f"{ip}/{length}")
    assert isinstance(ours, Interface4)
    assert [getattr(ours, name) for name in ASKED] == [getattr(theirs, name) for name in ASKED]
    assert (str(ours), hash(ours), int(ours)) == (str(theirs), hash(theirs), int(theirs))
    assert ours == theirs == interface(ip, length)
    assert theirs == ours
    assert not ours < theirs
    assert (str(ours.ip), repr(hash(ours.ip)), f"{ours.ip}") == (str(ip), repr(hash(ip)), f"{ip}")
    assert ours.ip == ip == pickle.loads(pickle.dumps(ours.ip)) == copy.deepcopy(ours.ip)
    if 0 < int(ip) < 2**32 - 1:
        assert (ours.ip + 1, ours.ip - 1) == (ip + 1, ip - 1)
    for again in (pickle.loads(pickle.dumps(ours)), copy.deepcopy(ours)):
        assert again == theirs


@given(
    st.one_of(
        st.text("0123456789./:af", max_size=24),
        st.from_regex(r"[0-9]{1,4}(\.[0-9]{1,4}){2,4}(/[0-9]{0,4})?", fullmatch=True),
        st.builds("{}/{}".format, st.ip_addresses(v=6), st.integers(0, 128)),
        st.ip_addresses().map(str),
    )
)
def test_a_text_is_read_or_refused_as_by_ipaddress(text: str) -> None:
    try:
        wanted = ipaddress.ip_interface(text)
    except ValueError:
        with pytest.raises(ValueError, match=r"."):
            read_interface(text)
    else:
        assert read_interface(text) == wanted
