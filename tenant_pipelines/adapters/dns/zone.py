"""Which zone, on which server, and the key that may change it."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class DnsZone:
    """The zone that the tenants' names are in.

    Args:
        url: of the zone's primary server, `dns://host:port` (port 53 when left out); only TCP is used.
        zone: the zone's name.
        key_name: the TSIG key's name as the server knows it.
        key_secret: the TSIG key in base64, as in the server's own configuration.
        key_algorithm: the TSIG algorithm.
        ttl: seconds for which resolvers may remember a record.
    """

    url: str
    zone: str
    key_name: str
    key_secret: str = field(repr=False)
    key_algorithm: str = "hmac-sha256"
    ttl: int = 300
