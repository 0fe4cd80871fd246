"""Measures the product on the local stack and shows figures; nothing passes or fails here."""
