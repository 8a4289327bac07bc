"""Django's registration of the fleet app."""

from django.apps import AppConfig


class FleetConfig(AppConfig):
    """The fleet app."""

    name = "fleet"
    default_auto_field = "django.db.models.BigAutoField"
