"""Training: settings and presets, data, the run folder, and one loop for every method."""
