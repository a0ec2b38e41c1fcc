"""Model files: what they say of themselves, and where they are found."""
