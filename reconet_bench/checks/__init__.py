"""Checks of an installation, one file each: ``reconet-bench doctor`` runs them all."""
