"""The demo: tenants of a file are provisioned on a local stack of its own, and what is then there is looked at."""
