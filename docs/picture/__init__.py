"""The picture of the README: real runs, taken from the ledger's history and drawn as SVG."""
