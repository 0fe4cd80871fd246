"""Thin Dagster resources around the adapters: settings in, adapter out."""
