"""A method is a network, an objective and its own defaults; one file each, found by being here."""
