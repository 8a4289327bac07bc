"""The command script/bootstrap: the environment and the private servers, left up."""

import argparse
import sys

import environment
from provisioning import interruption, sharing, ways
from provisioning.console import CannotProvision, say
from provisioning.state import State


def main() -> int:
    """Run the command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="script/bootstrap", description=__doc__)
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--dev", dest="kind", action="store_const", const="dev", help="with all that the tests need")
    kinds.add_argument(
        "--agent", dest="kind", action="store_const", const="agent", help="with the sample agent's models"
    )
    options = parser.parse_args()
    interruption.watch()
    state = State.of_checkout()
    try:
        environment.prepare(state, options.kind or "runtime")
        outcome = ways.up(state)
    except (CannotProvision, ways.Unusable) as reason:
        say(str(reason))
        return 1
    sharing.keep_up(state)
    say(f"ready; {' and '.join(outcome.started) or 'nothing'} had to be started")
    return 0


if __name__ == "__main__":
    sys.exit(main())
