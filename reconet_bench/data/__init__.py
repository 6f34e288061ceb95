"""Clips: frames, flow and masks. Every source gives the same clip object."""
