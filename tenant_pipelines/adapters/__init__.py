"""The outside systems, one module each; they fulfil `domain.ports` and know nothing of Dagster, ledger or steps."""
