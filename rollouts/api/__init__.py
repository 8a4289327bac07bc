"""REST: rollouts and their decisions, devices' desired releases, device CI, webhooks; one file per noun."""
