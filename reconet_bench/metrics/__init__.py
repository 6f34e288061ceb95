"""Numbers on frames, flow and masks: each a function first, and a metric found by being here."""
