"""A simulated fleet of edge devices: seeded, physical enough to be hard for statistics, with faults on demand.

Pure but for `live.py`: time and random generators are arguments, nothing here reads a clock.
"""
