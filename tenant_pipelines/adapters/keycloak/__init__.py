"""Keycloak through python-keycloak: one organization per tenant in a shared realm, and its administrator.

Source: Keycloak Admin REST API, organizations, users and user profile; measured against 26.7.
"""

from tenant_pipelines.adapters.keycloak.provider import Keycloak
from tenant_pipelines.adapters.keycloak.settings import KeycloakRealm

__all__ = ["Keycloak", "KeycloakRealm"]
