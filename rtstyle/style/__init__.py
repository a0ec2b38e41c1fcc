"""A style is a vector that steers a net: found by name, mixed, or made from a style image."""
