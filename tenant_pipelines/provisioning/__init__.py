"""Provisioning: the 14 steps, their catalogue, and the jobs made from it."""
