"""What exists: devices, hardware targets, regions, releases, artifacts, budgets, tokens, enrolment and audit trail."""
