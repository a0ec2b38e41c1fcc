"""A render in segments, each painted on its own, so that a kill costs one of them at most."""
