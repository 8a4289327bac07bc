"""What to do: change records, the device-CI gate, stages, lanes, recommendations, approvals, evidence and delivery."""
