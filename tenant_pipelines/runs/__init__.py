"""The one gateway to Dagster's instance: create, launch and look at runs; given to the operations from outside."""
