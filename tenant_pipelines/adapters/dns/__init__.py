"""DNS: the tenants' names in our zone, written by signed dynamic updates."""

from tenant_pipelines.adapters.dns.records import Rfc2136
from tenant_pipelines.adapters.dns.zone import DnsZone

__all__ = ["DnsZone", "Rfc2136"]
