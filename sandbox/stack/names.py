"""Names that several files of the stack agree on."""

PRODUCT = "arc_saas"
"""The database of the ledger and the tenants."""

DAGSTER = "dagster"
"""Dagster's own database, and the role that owns it."""

LOCATION = "tenant_pipelines"
"""Dagster's code location."""

ORGANIZATION = "arc-saas"
"""At Terraform Cloud."""

REGION = "us-east-1"
LOGS_BUCKET = "dagster-logs"
CODE_SOCKET = "code-server.sock"
CONTROL_SOCKET = "stand-ins.sock"

DRAIN = 10
"""Seconds that the pool gives its runs to be handed over when it ends: setting `worker_drain` of the local stack."""
