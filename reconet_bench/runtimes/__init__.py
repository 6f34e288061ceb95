"""A runtime runs a model on frames; one file each, found by being here."""
