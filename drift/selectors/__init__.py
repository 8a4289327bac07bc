"""The reads of the drift app, one file per subject."""
