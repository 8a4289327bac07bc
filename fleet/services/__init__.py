"""The only writers of the fleet's tables, one file per subject; every change leaves an audit row."""
