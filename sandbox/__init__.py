"""The local stack: a real PostgreSQL, a real S3, and stand-ins that speak the other systems' protocols on loopback."""
