"""What changed: statistics, evaluations, alarms, attribution, labels and playbooks."""
