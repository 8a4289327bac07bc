"""The addresses of DDI: no trailing slash, the tenant in any case."""

from django.urls import re_path

from rollouts.ddi import views

_BASE = r"^(?P<tenant>[Dd][Ee][Ff][Aa][Uu][Ll][Tt])/controller/v1/(?P<controller_id>[^/]+)"
_ACTION = r"(?P<action_id>\d{1,10})"
_FILES = r"/softwaremodules/(?P<module>\d{1,10})/artifacts"

# The first that fits is taken: the MD5SUM of a file before a file of that name.
_ROUTES = (
    (r"", views.base, "base"),
    (r"/configData", views.config_data, "config-data"),
    (rf"/deploymentBase/{_ACTION}", views.deployment_base, "deployment"),
    (rf"/deploymentBase/{_ACTION}/feedback", views.deployment_feedback, "deployment-feedback"),
    (rf"/cancelAction/{_ACTION}", views.cancel_action, "cancel"),
    (rf"/cancelAction/{_ACTION}/feedback", views.cancel_feedback, "cancel-feedback"),
    (r"/installedBase", views.set_installed_base, "set-installed"),
    (rf"/installedBase/{_ACTION}", views.installed_base, "installed"),
    (r"/confirmationBase", views.confirmation_base, "confirmation-base"),
    (r"/confirmationBase/activateAutoConfirm", views.activate_auto_confirm, "activate-auto-confirm"),
    (r"/confirmationBase/deactivateAutoConfirm", views.deactivate_auto_confirm, "deactivate-auto-confirm"),
    (rf"/confirmationBase/{_ACTION}", views.confirmation, "confirmation"),
    (rf"/confirmationBase/{_ACTION}/feedback", views.confirmation_feedback, "confirmation-feedback"),
    (_FILES, views.artifacts, "artifacts"),
    (rf"{_FILES}/(?P<filename>[^/]+)\.MD5SUM", views.md5sum, "md5sum"),
    (rf"{_FILES}/(?P<filename>[^/]+)", views.download, "download"),
)

patterns = [re_path(rf"{_BASE}{route}/?$", view, name=f"ddi-{name}") for route, view, name in _ROUTES]
