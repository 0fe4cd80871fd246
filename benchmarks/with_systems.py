"""The product's definitions with other outside systems in the place of its own."""

from collections.abc import Mapping

import dagster

from tenant_pipelines import definitions


def with_systems(systems: Mapping[str, object]) -> dagster.Definitions:
    """Everything else is the product's own. Args: systems: by the names of `resources.systems.outside_systems`."""
    product = definitions.defs
    return dagster.Definitions(
        jobs=product.jobs,
        schedules=product.schedules,
        sensors=product.sensors,
        resources={**(product.resources or {}), **systems},
    )
