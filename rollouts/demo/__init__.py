"""The example that `script/demo` shows: people, a fleet with history, and a canary that is worse on one target."""

from rollouts.demo.loading import Loaded, load

__all__ = ["Loaded", "load"]
