"""One file a step: what it does and how that is undone, side by side."""
