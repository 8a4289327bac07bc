"""Template tags of the drift app."""
