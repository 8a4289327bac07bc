"""Reads of the rollouts app, one file per subject."""
