"""Where frames, flow and masks come from; every source gives the same clip object."""
