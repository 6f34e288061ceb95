"""Video files in and out through PyAV (FFmpeg's libraries)."""
