"""The addresses of the fleet app."""

from django.contrib.auth import views as auth_views
from django.urls import path

from fleet.api.routes import api_patterns, root_patterns
from fleet.views import audit, credentials, devices, enrollment, home, releases, saved_views

page_patterns = [
    path("", home.home, name="home"),
    path("login/", auth_views.LoginView.as_view(template_name="fleet/login.html"), name="login"),
    path("logout/", auth_views.LogoutView.as_view(), name="logout"),
    path("devices/", devices.devices, name="devices"),
    path("tag-devices/", devices.tag, name="devices-tag"),
    path("devices/<str:serial>/", devices.device, name="device"),
    path("devices/<str:serial>/sticker/", devices.sticker, name="device-sticker"),
    path("devices/<str:serial>/act/", devices.act, name="device-act"),
    path("releases/", releases.releases, name="releases"),
    path("releases/<int:pk>/", releases.release, name="release"),
    path("releases/<int:pk>/act/", releases.act, name="release-act"),
    path("audit/", audit.audit, name="audit"),
    path("enrollment/", enrollment.enrollment, name="enrollment"),
    path("credentials/devices/", credentials.move_devices, name="devices-move"),
    path("credentials/keys/", credentials.create_key, name="key-create"),
    path("credentials/keys/revoke/", credentials.revoke_key, name="key-revoke"),
    path("credentials/tokens/", credentials.issue_token, name="token-issue"),
    path("credentials/tokens/revoke/", credentials.revoke_token, name="token-revoke"),
    path("credentials/api-tokens/", credentials.create_api_token, name="api-token-create"),
    path("credentials/api-tokens/revoke/", credentials.revoke_api_token, name="api-token-revoke"),
    path("credentials/signing-keys/", credentials.register_signing_key, name="signing-key-register"),
    path("credentials/signing-keys/revoke/", credentials.revoke_signing_key, name="signing-key-revoke"),
    path("save-view/", saved_views.save, name="save-view"),
    path("saved-views/<int:pk>/act/", saved_views.act, name="saved-view-act"),
]

__all__ = ["api_patterns", "page_patterns", "root_patterns"]
