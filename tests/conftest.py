"""The cast and the clock that every test shares: people by role, two hardware targets, two regions, two releases."""

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from django.db import connection
from django.test import Client
from django.test.client import ClientHandler
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from rest_framework.test import APIClient, ForceAuthClientHandler

from fleet.actors import Actor
from fleet.models import Device, HardwareTarget, Region, Release, User, Workload
from fleet.models.people import Role
from fleet.services import labels, releases, tokens
from telemetry import columns
from telemetry.services import contexts, directives
from telemetry.services.ingest import senders, spans

# Property tests draw the same examples each time, and a loaded machine fails none of them.
hypothesis_settings.register_profile(
    "ridgeline", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
hypothesis_settings.load_profile("ridgeline")

BILL_OF_MATERIALS = {
    "model_hash": "sha256:5d41402abc4b2a76b9719d911017c592",
    "quantization": "int8-per-channel",
    "runtime_version": "onnxruntime 1.31",
    "compiler_version": "tensorrt 10.3",
    "driver_version": "540.4",
    "firmware_version": "r36.4",
    "calibration_dataset": "night-drive-7",
}


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup, django_db_blocker):
    """Let pytest-django empty the tables between transactional tests; the test of that trigger turns it on again."""
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute("ALTER TABLE fleet_auditentry DISABLE TRIGGER audit_table_stays")
        for table in ("lanetransition", "approval", "look", "evidence"):
            cursor.execute(f"ALTER TABLE rollouts_{table} DISABLE TRIGGER {table}_table_stays")


@pytest.fixture(autouse=True)
def empty_time_series(request):
    """Empty the hypertables after a transactional test: pytest-django flushes the tables of models alone."""
    yield
    marker = request.node.get_closest_marker("django_db")
    if marker is not None and marker.kwargs.get("transaction"):
        blocker = request.getfixturevalue("django_db_blocker")
        with blocker.unblock(), connection.cursor() as cursor:
            cursor.execute(f"TRUNCATE {', '.join(columns.TABLES)}, stale_bucket")


@pytest.fixture(autouse=True)
def artifacts_in_a_temporary_folder(settings, tmp_path):
    """Uploaded files go with the test that uploaded them."""
    settings.MEDIA_ROOT = tmp_path / "artifacts"


@pytest.fixture(autouse=True)
def ingest_remembers_nothing():
    """What ingest remembers of a database is wrong for the next test's, which starts empty."""
    contexts.forget()
    directives.forget()
    senders.forget()
    spans.forget()


@pytest.fixture
def now() -> datetime:
    """The moment at which every test plays."""
    return datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Cast:
    """Everyone and everything that tests know by name."""

    engineer: User
    manager: User
    administrator: User
    ml: User
    embedded: User
    hardware: User
    qa: User
    security: User
    operations: User
    visitor: User
    workload: Workload
    orin: HardwareTarget
    hailo: HardwareTarget
    north: Region
    west: Region
    release: Release
    candidate: Release


def make_user(name: str, *roles: str) -> User:
    """A person who logs in by `force_login`; nobody in the cast has a password."""
    user = User(username=name, roles=list(roles))
    user.set_unusable_password()
    user.save()
    return user


@pytest.fixture
def cast(db, now) -> Cast:
    """One person per role and one with none; lane-assist 4.1.0 and 4.2.0 on orin-nx-16 and hailo-8, in two regions."""
    people = {
        "engineer": make_user("erin", Role.ENGINEER),
        "manager": make_user("mara", Role.RELEASE_MANAGER),
        "administrator": make_user("ada", Role.ADMINISTRATOR),
        "ml": make_user("mel", Role.ML),
        "embedded": make_user("emil", Role.EMBEDDED),
        "hardware": make_user("hank", Role.HARDWARE),
        "qa": make_user("quinn", Role.QA),
        "security": make_user("sam", Role.SECURITY),
        "operations": make_user("otto", Role.OPERATIONS),
        "visitor": make_user("vera"),
    }
    actor = Actor.system("tests")
    workload = labels.create_label(Workload, actor=actor, now=now, slug="lane-assist", name="Lane assist")
    orin = labels.create_label(HardwareTarget, actor=actor, now=now, slug="orin-nx-16", name="Orin NX 16 GB")
    hailo = labels.create_label(HardwareTarget, actor=actor, now=now, slug="hailo-8", name="Hailo-8")
    north = labels.create_label(Region, actor=actor, now=now, slug="eu-north", name="EU north")
    west = labels.create_label(Region, actor=actor, now=now, slug="us-west", name="US west")

    def published(version: str) -> Release:
        draft = releases.create_release(
            workload=workload,
            version=version,
            bill_of_materials={**BILL_OF_MATERIALS, "model_version": version},
            hardware_targets=[orin, hailo],
            actor=actor,
            now=now,
            created_by=people["manager"],
        )
        return releases.publish(draft, actor=actor, now=now)

    return Cast(
        **people,
        workload=workload,
        orin=orin,
        hailo=hailo,
        north=north,
        west=west,
        release=published("4.1.0"),
        candidate=published("4.2.0"),
    )


@pytest.fixture
def make_device(cast, now) -> Callable[..., Device]:
    """Make an accepted device: `make_device("cam-001", "orin-nx-16", "eu-north")`; labels also as rows."""

    def make(serial: str = "cam-001", target="orin-nx-16", region="eu-north", **fields) -> Device:
        if isinstance(target, str):
            target = HardwareTarget.objects.get(slug=target)
        if isinstance(region, str):
            region = Region.objects.get(slug=region)
        return Device.objects.create(serial=serial, hardware_target=target, region=region, enrolled_at=now, **fields)

    return make


@pytest.fixture
def device_token(now) -> Callable[[Device], str]:
    """Issue a token to a device and return its text."""

    def issue(device: Device, **options) -> str:
        return tokens.issue_device_token(device, actor=Actor.system("tests"), now=now, **options)

    return issue


@pytest.fixture(scope="session")
def handlers() -> tuple[ForceAuthClientHandler, ClientHandler]:
    """The product behind REST and page clients, put together once: a walk over all endpoints makes many clients."""
    rest, pages = ForceAuthClientHandler(enforce_csrf_checks=False), ClientHandler(enforce_csrf_checks=False)
    rest.load_middleware()
    pages.load_middleware()
    return rest, pages


@pytest.fixture
def api_client(now, handlers) -> Callable[..., APIClient]:
    """A REST client: of a person (with a token of all scopes, or of those given), of a raw token, or of nobody."""

    def client(who: User | str | None = None, scopes=("*",)) -> APIClient:
        api = APIClient()
        api.handler = copy(handlers[0])
        if isinstance(who, User):
            who = tokens.issue_api_token(who, "tests", scopes, actor=Actor.of_user(who), now=now)
        if who is not None:
            api.credentials(HTTP_AUTHORIZATION=f"Bearer {who}")
        return api

    return client


@pytest.fixture
def browser_client(handlers) -> Callable[..., Client]:
    """A page client, logged in as a person where one is given."""

    def client(user: User | None = None) -> Client:
        browser = Client()
        browser.handler = copy(handlers[1])
        if user is not None:
            browser.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        return browser

    return client
