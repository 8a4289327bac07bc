"""The device protocol, `ridgeline.telemetry/1`: from the bytes of a body to checked records in numpy columns.

Pure: no Django, no database, no clock. `read_batch` is the way in; `read_clock` turns device times into event times.

Three kinds of fault are told apart. A body that cannot be understood as a whole raises `BadBody`; a body beyond a limit
raises `TooLarge`; a bad record becomes a `Rejection` and leaves the other records of its batch alone.
"""

from telemetry.protocol.batch import Batch, read_batch, records_as_sent
from telemetry.protocol.clocks import ClockReading, misplaced, read_clock
from telemetry.protocol.encoding import decompress
from telemetry.protocol.errors import BadBody, Rejection, TooLarge, UnknownEncoding
from telemetry.protocol.inferences import Inferences
from telemetry.protocol.windows import CheckedWindow
from telemetry.protocol.wire import SCHEMA, microseconds

__all__ = [
    "SCHEMA",
    "BadBody",
    "Batch",
    "CheckedWindow",
    "ClockReading",
    "Inferences",
    "Rejection",
    "TooLarge",
    "UnknownEncoding",
    "decompress",
    "microseconds",
    "misplaced",
    "read_batch",
    "read_clock",
    "records_as_sent",
]
