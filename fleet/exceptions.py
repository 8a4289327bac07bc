"""The ways in which the domain says no; config/errors.py maps each to an HTTP status."""

from collections.abc import Iterable, Mapping


class DomainError(Exception):
    """A refusal with a sentence for people and a code for programs."""

    code = "error"

    def __init__(self, detail: str = "", *, code: str | None = None) -> None:
        super().__init__(detail or type(self).__doc__)
        self.detail = str(self)
        self.code = code or self.code


class InvalidInput(DomainError):
    """The input is not valid."""

    code = "invalid"

    def __init__(self, errors: Mapping[str, str], *, code: str | None = None) -> None:
        told = (f"{field}: {message}" if field else message for field, message in errors.items())
        super().__init__("; ".join(told), code=code)
        self.errors = dict(errors)


class NotFound(DomainError):
    """There is no such thing."""

    code = "not_found"


class BadCredentials(DomainError):
    """The token or key is not valid."""

    code = "bad_credentials"


class NotAllowed(DomainError):
    """You may not do this."""

    code = "not_allowed"


class StateConflict(DomainError):
    """The state does not allow this action."""

    code = "state_conflict"

    def __init__(
        self, state: str, allowed_actions: Iterable[str] = (), detail: str = "", *, code: str | None = None
    ) -> None:
        self.state = state
        self.allowed_actions = sorted(allowed_actions)
        allowed = ", ".join(self.allowed_actions) or "nothing"
        super().__init__(detail or f"The state is {state}, which allows {allowed}.", code=code)


class TooLarge(DomainError):
    """The body is larger than the limit."""

    code = "too_large"


class TooMany(DomainError):
    """Too many requests; wait."""

    code = "too_many_requests"

    def __init__(self, detail: str, *, wait_s: int, code: str | None = None) -> None:
        self.wait_s = wait_s
        super().__init__(detail, code=code)
