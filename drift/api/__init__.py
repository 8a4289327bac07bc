"""The REST API of the drift app, one file per resource."""
