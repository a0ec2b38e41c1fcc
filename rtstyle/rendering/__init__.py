"""Files in, a painted file out: cut into segments that survive a kill."""
