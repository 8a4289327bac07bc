"""QR codes as inline SVG that takes its colours from the page, for stickers on devices and for keys shown once."""

from dataclasses import dataclass

import segno

# The quiet zone that readers need, in modules.
QUIET = 4


@dataclass(frozen=True)
class QRCode:
    """A code to draw: its side in modules (quiet zone included), one SVG path of its dark modules, and its text."""

    size: int
    path: str
    text: str


def qr_code(text: str) -> QRCode:
    """The QR code of a text with error correction M, or better where that costs nothing: 15 % may be scratched."""
    matrix = segno.make_qr(text, error="m", boost_error=True).matrix
    runs = []
    for y, row in enumerate(matrix):
        x = 0
        while x < len(row):
            start = x
            while x < len(row) and row[x]:
                x += 1
            if x > start:
                runs.append(f"M{start + QUIET} {y + QUIET}h{x - start}v1h-{x - start}z")
            x += 1
    return QRCode(len(matrix) + 2 * QUIET, "".join(runs), text)
