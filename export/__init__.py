"""From checkpoints to model files; depends on rtstyle, never the reverse."""
