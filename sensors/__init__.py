"""One small module a sensor: a few lines around a decision of `operations`."""
