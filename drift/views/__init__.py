"""The pages and panels of the drift app."""
