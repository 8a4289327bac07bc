"""What was measured: wire protocol, ingest, hypertables, roll-ups, events, series and the device timeline."""
