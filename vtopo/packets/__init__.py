"""Packets as bytes: how they are told in words, and how a capture file has them."""
