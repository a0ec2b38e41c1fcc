"""A render on many machines: the segments of several videos painted by workers on Ray."""
