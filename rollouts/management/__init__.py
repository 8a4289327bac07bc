"""Commands of the rollouts app."""
