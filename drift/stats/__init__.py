"""Statistics of drift: pure functions on numpy arrays, one file per method, the device as the unit throughout."""
