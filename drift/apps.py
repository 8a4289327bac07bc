"""Django's registration of the drift app."""

from django.apps import AppConfig


class DriftConfig(AppConfig):
    """The drift app."""

    name = "drift"
    default_auto_field = "django.db.models.BigAutoField"
