"""The ways in which telemetry says no, beside those of fleet."""

from fleet.exceptions import DomainError


class BatchConflict(DomainError):
    """Another body was stored under this boot_id and batch_seq."""

    code = "batch_conflict"


class TooMany(DomainError):
    """The device sends more often than it may."""

    code = "too_many_requests"

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(f"Too many requests; the next one is welcome in {retry_after_s:.1f} s.")
        self.retry_after_s = retry_after_s
