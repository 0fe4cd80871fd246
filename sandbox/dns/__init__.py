"""An authoritative name server for one zone, with signed dynamic updates, UDP and TCP."""

from sandbox.dns.server import NameServer, running

__all__ = ["NameServer", "running"]
