"""Rewrites of an exported graph that keep its frames and make it cheaper, one file each."""
