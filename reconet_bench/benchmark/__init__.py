"""Experiments on models: comparison, speed, sweeps, and their verdicts."""
