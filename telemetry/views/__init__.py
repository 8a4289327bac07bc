"""The pages of the telemetry app, its charts, and the panels that it gives to the pages of other apps."""
