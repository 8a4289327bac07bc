"""The Django admin for what has no page of its own; every change made there leaves an audit row like any other.

What only a service may write (releases, tokens, keys, waivers, the audit trail) can be read here and not changed.
"""

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.db.models import Field, Model
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from fleet.actors import Actor
from fleet.models import (
    Artifact,
    AuditEntry,
    Budget,
    Device,
    DeviceGroup,
    EnrollmentKey,
    HardwareTarget,
    Region,
    Release,
    SavedView,
    SigningKey,
    Token,
    User,
    Waiver,
    Workload,
)
from fleet.models.people import Role
from fleet.services import audit

admin.site.site_header = admin.site.site_title = "Ridgeline administration"
admin.site.index_title = "Tables"
# Fields whose values no audit row repeats.
SECRET = ("password", "password1", "password2")


def _plain(value: Any) -> Any:
    """A form value as the audit trail keeps it."""
    if isinstance(value, Model):
        return str(value)
    if hasattr(value, "all"):
        return sorted(str(item) for item in value.all())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


class ForAdministrators(admin.ModelAdmin):
    """A table that administrators see; roles decide here as everywhere, Django's own permissions are not used."""

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Whether the table is listed."""
        return request.user.is_administrator

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Whether the table can be read."""
        return request.user.is_administrator


class Audited(ForAdministrators):
    """A table that may be changed here; nothing is deleted, because history refers to it."""

    readonly_fields = ("created_at",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Administrators add."""
        return request.user.is_administrator

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Administrators change."""
        return request.user.is_administrator

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody deletes here."""
        return False

    def save_model(self, request: HttpRequest, obj: Model, form: ModelForm, change: bool) -> None:
        """Save, with the audit row in the same transaction (the admin's views are atomic)."""
        now = timezone.now()
        if not change and hasattr(obj, "created_at"):
            obj.created_at = now
        old = {name: _plain(form.initial.get(name)) for name in form.changed_data if name not in SECRET}
        super().save_model(request, obj, form, change)
        audit.record(
            actor=Actor.of_user(request.user),
            action=f"{obj._meta.model_name}.{'changed' if change else 'created'}",
            obj=obj,
            now=now,
            old=old if change else None,
            new={
                name: "changed" if name in SECRET else _plain(form.cleaned_data.get(name)) for name in form.changed_data
            },
            reason="in the Django admin",
        )

    # The audit trail says the same with more; a log of the admin's own would be a second truth.
    def log_change(self, request: HttpRequest, obj: Model, message: Any) -> None:
        """The audit trail is the log."""

    def log_addition(self, request: HttpRequest, obj: Model, message: Any) -> None:
        """The audit trail is the log."""


class ReadOnly(ForAdministrators):
    """A table that only services write."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody adds here."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody changes here."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody deletes here."""
        return False


@admin.register(Workload, HardwareTarget, Region, DeviceGroup)
class LabelAdmin(Audited):
    """Labels; a slug stays, because telemetry and scripts know the label by it."""

    list_display = ("slug", "name", "created_at")
    search_fields = ("slug", "name")

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> tuple[str, ...]:
        """The slug can be given once."""
        return ("created_at",) if obj is None else ("created_at", "slug")


@admin.register(User)
class PersonAdmin(Audited, UserAdmin):
    """People with their roles."""

    list_display = ("username", "first_name", "last_name", "roles", "is_active", "last_login")
    list_filter = ("is_active",)
    readonly_fields = ("date_joined", "last_login")
    filter_horizontal = ()
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        ("Person", {"fields": ("first_name", "last_name", "email")}),
        ("Rights", {"fields": ("roles", "is_active", "is_superuser")}),
        ("Dates", {"fields": ("date_joined", "last_login")}),
    )
    add_fieldsets = (
        (None, {"classes": ("wide",), "fields": ("username", "usable_password", "password1", "password2", "roles")}),
    )

    def formfield_for_dbfield(self, db_field: Field, request: HttpRequest, **kwargs: Any) -> forms.Field:
        """Roles as boxes to tick."""
        if db_field.name != "roles":
            return super().formfield_for_dbfield(db_field, request, **kwargs)
        return forms.MultipleChoiceField(
            choices=Role.choices, required=False, widget=forms.CheckboxSelectMultiple, label="Roles"
        )

    def save_model(self, request: HttpRequest, obj: User, form: ModelForm, change: bool) -> None:
        """Administrators reach this site, others do not."""
        obj.is_staff = obj.is_administrator
        super().save_model(request, obj, form, change)

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:
        """Set a person's password, with its audit row."""
        response = super().user_change_password(request, id, form_url)
        person = self.get_object(request, id)
        if request.method == "POST" and response.status_code == 302 and person is not None:
            audit.record(
                actor=Actor.of_user(request.user),
                action="user.changed",
                obj=person,
                now=timezone.now(),
                new={"password": "changed"},
                reason="in the Django admin",
            )
        return response


@admin.register(Device)
class DeviceAdmin(ReadOnly):
    """Devices; the pages and the API change them."""

    list_display = ("serial", "hardware_target", "region", "status", "enrolled_at")
    list_filter = ("status", "hardware_target", "region")
    search_fields = ("serial",)
    list_select_related = ("hardware_target", "region")


@admin.register(Release)
class ReleaseAdmin(ReadOnly):
    """Releases."""

    list_display = ("workload", "version", "status", "created_at", "published_at")
    list_filter = ("status", "workload")
    search_fields = ("version",)
    list_select_related = ("workload",)


@admin.register(Artifact)
class ArtifactAdmin(ReadOnly):
    """Files of releases."""

    list_display = ("filename", "release", "part", "size", "sha256")
    search_fields = ("filename", "sha256")
    list_select_related = ("release__workload",)
    exclude = ("signature",)


@admin.register(SigningKey)
class SigningKeyAdmin(ReadOnly):
    """Public keys."""

    list_display = ("name", "created_at", "revoked_at")
    exclude = ("public_key",)


@admin.register(Budget)
class BudgetAdmin(ReadOnly):
    """Versions of budgets."""

    list_display = ("workload", "hardware_target", "version", "created_by", "created_at")
    list_select_related = ("workload", "hardware_target", "created_by")


@admin.register(Waiver)
class WaiverAdmin(ReadOnly):
    """Waivers."""

    list_display = ("release", "hardware_target", "limit", "requested_by", "approver", "expires_at", "revoked_at")
    list_select_related = ("release__workload", "hardware_target", "requested_by", "approver")


@admin.register(Token)
class TokenAdmin(ReadOnly):
    """Tokens, never what could open anything."""

    list_display = ("key_id", "kind", "device", "user", "name", "created_at", "last_used_at", "revoked_at")
    list_filter = ("kind",)
    search_fields = ("key_id", "device__serial", "user__username")
    list_select_related = ("device", "user")
    exclude = ("secret_hmac",)


@admin.register(EnrollmentKey)
class EnrollmentKeyAdmin(ReadOnly):
    """Enrolment keys, never what could open anything."""

    list_display = ("name", "key_id", "uses", "max_uses", "created_at", "expires_at", "revoked_at")
    exclude = ("secret_hmac",)


@admin.register(SavedView)
class SavedViewAdmin(ReadOnly):
    """Saved views; their pages change them."""

    list_display = ("name", "path", "query", "owner", "shared", "changed_at")
    list_filter = ("shared",)
    list_select_related = ("owner",)


@admin.register(AuditEntry)
class AuditAdmin(ReadOnly):
    """The audit trail."""

    list_display = ("at", "actor", "action", "object_label", "reason")
    list_filter = ("action",)
    search_fields = ("actor", "object_label", "reason", "evidence_hash")
    show_full_result_count = False
