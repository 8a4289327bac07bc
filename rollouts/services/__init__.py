"""The only writers of rollouts, one file per subject; every move leaves a transition and an audit row."""
