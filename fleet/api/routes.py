"""The addresses of the REST API, relative to /api/v1/, and of the downloads."""

from django.urls import URLPattern, path

from fleet.api import (
    artifacts,
    audit,
    budgets,
    devices,
    downloads,
    enrollment,
    health,
    labels,
    people,
    releases,
    saved_views,
    signing_keys,
)
from fleet.api.resources import Resource

# What a method on one row does.
METHODS = {"patch": "partial_update", "delete": "destroy"}


def noun(
    route: str, view: type[Resource], *actions: str, item: tuple[str, ...] = (), create: bool = True
) -> list[URLPattern]:
    """The routes of one noun: its list (also as `.csv`), one row, and an address per action (`rotate_token`: POST)."""
    collection = {"get": "list"} | ({"post": "create"} if create else {})
    row = {"get": "retrieve"} | {verb: METHODS[verb] for verb in item}
    return [
        path(route, view.as_view(collection), name=f"api-{route}"),
        path(f"{route}.csv", view.as_view({"get": "list"}), {"format": "csv"}),
        path(f"{route}/<str:reference>", view.as_view(row), name=f"api-{route}-item"),
        *(
            path(
                f"{route}/<str:reference>/{action.replace('_', '-')}",
                view.as_view({"post": action}),
                name=f"api-{route}-{action.replace('_', '-')}",
            )
            for action in actions
        ),
    ]


api_patterns = [
    *noun("workloads", labels.WorkloadViewSet, item=("patch",)),
    *noun("hardware-targets", labels.HardwareTargetViewSet, item=("patch",)),
    *noun("regions", labels.RegionViewSet, item=("patch",)),
    *noun("groups", labels.DeviceGroupViewSet, "devices", item=("patch",)),
    *noun(
        "devices",
        devices.DeviceViewSet,
        *("accept", "suspend", "resume", "retire", "rotate_token", "revoke_tokens"),
        item=("patch",),
    ),
    path("devices/<str:reference>/tokens", devices.DeviceViewSet.as_view({"get": "tokens"}), name="api-devices-tokens"),
    path("enroll", enrollment.EnrollView.as_view(), name="api-enroll"),
    path("device/token", enrollment.DeviceTokenView.as_view(), name="api-device-token"),
    *noun("enrollment-keys", enrollment.EnrollmentKeyViewSet, "revoke", item=("delete",)),
    path("me", people.MeView.as_view(), name="api-me"),
    *noun("users", people.UserViewSet, item=("patch",)),
    *noun("tokens", people.ApiTokenViewSet, "revoke", item=("delete",)),
    *noun("releases", releases.ReleaseViewSet, "publish", "withdraw", item=("patch",)),
    path("releases/<str:reference>/diff", releases.ReleaseViewSet.as_view({"get": "diff"}), name="api-releases-diff"),
    path(
        "releases/<str:reference>/artifacts",
        artifacts.ArtifactViewSet.as_view({"get": "list", "post": "create"}),
        name="api-releases-artifacts",
    ),
    path(
        "releases/<str:reference>/artifacts/<str:filename>",
        artifacts.ArtifactViewSet.as_view({"get": "retrieve", "delete": "destroy"}),
        name="api-releases-artifact",
    ),
    *noun("signing-keys", signing_keys.SigningKeyViewSet, "revoke"),
    *noun("budgets", budgets.BudgetViewSet, item=("patch",)),
    *noun("waivers", budgets.WaiverViewSet, "approve", "revoke"),
    *noun("saved-views", saved_views.SavedViewViewSet, item=("patch", "delete")),
    *noun("audit", audit.AuditViewSet, create=False),
]

root_patterns = [
    path("artifacts/<str:sha256>/<str:filename>", downloads.download, name="artifact"),
    path("healthz", health.healthz, name="healthz"),
]
