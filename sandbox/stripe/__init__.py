"""Stripe's stand-in."""

from sandbox.stripe.server import ENDPOINTS, Endpoint, Stripe

__all__ = ["ENDPOINTS", "Endpoint", "Stripe"]
