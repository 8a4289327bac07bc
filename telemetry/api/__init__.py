"""The REST API of the telemetry app: what devices send, and what people and programs read."""
