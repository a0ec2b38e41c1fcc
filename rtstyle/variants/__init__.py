"""Variants of model files: half precision, 8 bits, and plans built beforehand."""
