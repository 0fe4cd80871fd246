"""The real parts and all stand-ins, without Dagster, and a company that works with them."""
