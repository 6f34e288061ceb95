"""Commands: one file each, found by being here."""
