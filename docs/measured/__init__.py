"""The figures of docs/performance.md: what `make bench` has measured last, as tables and as a picture."""
