"""A Keycloak for trying things out: the part of its REST API that provisioning uses, as strict as 26.7 answers it."""

from sandbox.keycloak.server import Keycloak
from sandbox.keycloak.settings import Client, Operator, Realm

__all__ = ["Client", "Keycloak", "Operator", "Realm"]
