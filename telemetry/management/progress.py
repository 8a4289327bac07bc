"""A progress bar for commands that take minutes."""

from django.core.management.base import OutputWrapper

WIDTH = 30


def draw(stream: OutputWrapper, label: str, share: float) -> None:
    """Draw the bar over the one before; at a share of 1 the line ends."""
    filled = round(share * WIDTH)
    stream.write(f"\r{label:<52.52} [{'#' * filled}{'.' * (WIDTH - filled)}] {share:4.0%}", ending="")
    if share >= 1:
        stream.write("")
