"""Feed-forward networks, one file each, and the loss network."""
