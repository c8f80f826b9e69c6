"""vtopo: a language and a compiler for network and virtualization labs."""

__version__ = "0.1.0"
