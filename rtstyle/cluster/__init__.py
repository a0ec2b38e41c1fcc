"""A render on many machines: the segments of several videos encoded by workers on Ray."""
