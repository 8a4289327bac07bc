"""A device agent that runs a real small model on the CPU and reports what it measures."""
