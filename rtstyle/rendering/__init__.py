"""Files in, a stylized file out: cut into segments that survive a kill."""
