"""Who uses the private servers: the last product that leaves stops those that a product has started."""

import fcntl
from types import TracebackType

from provisioning import ways
from provisioning.console import say
from provisioning.state import State
from provisioning.ways import Outcome


class Use:
    """Keeps the private servers up for as long as the `with` block runs, together with other runs of this checkout.

    Servers that were up before anybody used them are left up. The note of what is ours is a file, so that a run which
    takes over from a killed one stops what that one started.
    """

    def __init__(self, state: State) -> None:
        self.state = state
        self.note = state.run / "started-by-use"

    def __enter__(self) -> Outcome:
        self.state.run.mkdir(parents=True, exist_ok=True)
        self._users = (self.state.run / "users").open("w")
        fcntl.flock(self._users, fcntl.LOCK_SH)
        outcome = ways.up(self.state)
        if outcome.started:
            self.note.write_text("\n".join({*self._ours(), *outcome.started}))
        return outcome

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if self._ours():
                stopped = ways.down(self.state, self._ours())
                say(f"{' and '.join(stopped) or 'nothing'} stopped")
                self.note.unlink()
        except BlockingIOError:
            pass  # another run still uses them
        finally:
            self._users.close()

    def _ours(self) -> tuple[str, ...]:
        return tuple(self.note.read_text().split("\n")) if self.note.exists() else ()


def keep_up(state: State) -> None:
    """Somebody asked for the servers themselves: from now on they stay up when the product stops."""
    (state.run / "started-by-use").unlink(missing_ok=True)
