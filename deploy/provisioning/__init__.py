"""Puts a private TimescaleDB and a private Redis on this machine and keeps them running."""
