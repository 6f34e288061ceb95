"""Methods: an objective with a network and default weights; one file each, found because it is in this folder."""
