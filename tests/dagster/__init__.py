"""How the installed release of Dagster behaves, wherever the design leans on it: a test a trap."""
