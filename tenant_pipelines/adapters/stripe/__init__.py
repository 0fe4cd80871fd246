"""Stripe's adapter."""

from tenant_pipelines.adapters.stripe.billing import Stripe
from tenant_pipelines.adapters.stripe.wire import StripeAccess

__all__ = ["Stripe", "StripeAccess"]
