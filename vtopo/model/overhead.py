"""What a tunnel takes of each packet; in a module of its own for those who know a tunnel without its lab."""

OVERHEAD = {4: 50, 6: 70}
"""Bytes that VXLAN adds, by the underlay's family: outer IP, UDP, VXLAN, inner Ethernet (RFC 7348, 4.3 and 5)."""
