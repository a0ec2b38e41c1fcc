"""NVIDIA GPUs without torch: the device, its memory, and batches in flight on it."""
