"""Creates, repairs and removes the tenants of a SaaS company across nine outside systems."""
