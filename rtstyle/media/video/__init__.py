"""Video files: containers, decoding and encoding."""
