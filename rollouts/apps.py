"""Django's registration of the rollouts app."""

from django.apps import AppConfig


class RolloutsConfig(AppConfig):
    """The rollouts app."""

    name = "rollouts"
    default_auto_field = "django.db.models.BigAutoField"
