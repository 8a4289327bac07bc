"""Saved views: the filters and the range of a page under a name, of one person or for everyone."""

from django.db import models
from django.utils.text import slugify

from fleet.models.people import User


class SavedView(models.Model):
    """A page's query string under a name. The address stays the truth: a view is a link and nothing more."""

    name = models.CharField(max_length=64)
    # The page, as in its address: /devices/
    path = models.CharField(max_length=200)
    # The query string without its question mark; empty for the page as it opens.
    query = models.CharField(max_length=2000, blank=True, default="")
    # What to look at there, in a sentence.
    note = models.CharField(max_length=200, blank=True, default="")
    owner = models.ForeignKey(User, on_delete=models.CASCADE, related_name="saved_views")
    # Shown to everyone; else to its owner alone.
    shared = models.BooleanField(default=False)
    # Its place in the tour on the fleet home, which example data bring along.
    tour_step = models.PositiveSmallIntegerField(null=True, blank=True)
    created_at = models.DateTimeField()
    changed_at = models.DateTimeField()

    class Meta:
        ordering = ["name", "id"]
        constraints = [
            models.UniqueConstraint(fields=["owner", "path", "name"], name="saved_view_name_unique"),
            models.UniqueConstraint(
                fields=["path", "name"], condition=models.Q(shared=True), name="saved_view_shared_name_unique"
            ),
        ]
        indexes = [models.Index(fields=["path", "shared"])]

    def __str__(self) -> str:
        return self.name

    @property
    def address(self) -> str:
        """The link."""
        return f"{self.path}?{self.query}" if self.query else self.path

    @property
    def anchor(self) -> str:
        """A name for its elements on a page."""
        return f"view-{self.pk}-{slugify(self.name)}"
