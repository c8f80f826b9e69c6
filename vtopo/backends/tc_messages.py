"""Traffic control requests that join two interfaces: what one receives, the other sends (tc-mirred(8))."""

from __future__ import annotations

import struct

from vtopo.backends.messages import (
    CHANGE,
    CREATE,
    NLA_F_NESTED,
    NLM_F_DUMP,
    NLM_F_REQUEST,
    RTM_DELQDISC,
    RTM_NEWQDISC,
    attribute,
    message,
)

RTM_NEWTFILTER, RTM_GETTFILTER = 44, 46
TCA_KIND, TCA_OPTIONS = 1, 2
TCA_U32_CLASSID, TCA_U32_SEL, TCA_U32_ACT = 1, 5, 7
TCA_ACT_KIND, TCA_ACT_OPTIONS, TCA_MIRRED_PARMS = 1, 2, 2
_TC_H_INGRESS, _INGRESS_HANDLE, _TC_H_ROOT = 0xFFFFFFF1, 0xFFFF0000, 0xFFFFFFFF
_ETH_P_ALL, _PRIORITY = 0x0003, 1
_TC_ACT_STOLEN, _TCA_EGRESS_REDIR, _TC_U32_TERMINAL = 4, 1, 1

_TCMSG = struct.Struct("=BxxxiIII")
_MIRRED = struct.Struct(
    "=IIiiiiI"
)  # struct tc_mirred: index, capab, action, refcnt, bindcnt, eaction, ifindex
_U32_SEL = struct.Struct("=BBBxHHhhI IIii".replace(" ", ""))  # struct tc_u32_sel, and one struct tc_u32_key


def ingress(index: int) -> bytes:
    """A place for filters of what an interface receives."""
    return qdisc(index, b"ingress\0")


def qdisc(index: int, kind: bytes) -> bytes:
    """A queueing discipline of an interface, without any options; `kind` ends in a zero byte."""
    place = (_INGRESS_HANDLE, _TC_H_INGRESS) if kind == b"ingress\0" else (0, _TC_H_ROOT)
    payload = _TCMSG.pack(0, index, *place, 0)
    return message(RTM_NEWQDISC, CREATE, payload + attribute(TCA_KIND, kind))


def no_ingress(index: int) -> bytes:
    """Take it away, with its filters."""
    payload = _TCMSG.pack(0, index, _INGRESS_HANDLE, _TC_H_INGRESS, 0)
    return message(RTM_DELQDISC, CHANGE, payload)


def redirect(index: int, to: int) -> bytes:
    """A filter there: every frame is taken, and sent by the interface `to`."""
    mirred = _MIRRED.pack(0, 0, _TC_ACT_STOLEN, 0, 0, _TCA_EGRESS_REDIR, to)
    action = attribute(TCA_ACT_KIND, b"mirred\0") + _nested(
        TCA_ACT_OPTIONS, attribute(TCA_MIRRED_PARMS, mirred)
    )
    # The key compares nothing, so it matches everything.
    selector = _U32_SEL.pack(_TC_U32_TERMINAL, 0, 1, 0, 0, 0, 0, 0, *(0, 0, 0, 0))
    options = attribute(TCA_U32_SEL, selector) + _nested(TCA_U32_ACT, _nested(1, action))
    information = _PRIORITY << 16 | int.from_bytes(_ETH_P_ALL.to_bytes(2, "big"), "little")
    payload = _TCMSG.pack(0, index, 0, _INGRESS_HANDLE, information)
    payload += attribute(TCA_KIND, b"u32\0") + _nested(TCA_OPTIONS, options)
    return message(RTM_NEWTFILTER, CREATE, payload)


def filters(index: int) -> bytes:
    """A request for the filters of what an interface receives."""
    return message(RTM_GETTFILTER, NLM_F_REQUEST | NLM_F_DUMP, _TCMSG.pack(0, index, 0, _INGRESS_HANDLE, 0))


def _nested(kind: int, value: bytes) -> bytes:
    return attribute(kind | NLA_F_NESTED, value)
