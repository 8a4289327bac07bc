"""The only writers of the drift app, one file per subject."""
