"""All settings of Ridgeline in one file; values come from the environment, a missing one stops the start by name."""

from pathlib import Path

import environ
import plotly
import structlog
from csp.constants import NONE, SELF

BASE_DIR = Path(__file__).resolve().parent.parent
LOCAL_DIR = BASE_DIR / ".local"

env = environ.Env()
# The file that deploy/provision writes; real environment variables win over it.
environ.Env.read_env(LOCAL_DIR / "env", overwrite=False)

# The version of pyproject.toml, which a test compares.
VERSION = "0.1.0"

# --- required -------------------------------------------------------------------------------------------------------
DATABASE_URL = env("DATABASE_URL")
REDIS_URL = env("REDIS_URL")
SECRET_KEY = env("DJANGO_SECRET_KEY")
# "2:<secret>,1:<older secret>", newest first: tokens hashed under an older pepper go on working until they rotate.
TOKEN_PEPPERS = {
    int(version): secret for version, secret in (item.split(":", 1) for item in env.list("RIDGELINE_TOKEN_PEPPERS"))
}

# --- web ------------------------------------------------------------------------------------------------------------
DEBUG = env.bool("DJANGO_DEBUG", default=False)
ALLOWED_HOSTS = env.list("DJANGO_ALLOWED_HOSTS", default=["*"])
CSRF_TRUSTED_ORIGINS = env.list("DJANGO_CSRF_TRUSTED_ORIGINS", default=[])
SECURE_PROXY_SSL_HEADER = (
    ("HTTP_X_FORWARDED_PROTO", "https") if env.bool("RIDGELINE_BEHIND_PROXY", default=False) else None
)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = env.bool("RIDGELINE_HTTPS_ONLY", default=False)
SESSION_COOKIE_SAMESITE = "Lax"
X_FRAME_OPTIONS = "DENY"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
# Devices and OTA clients post to paths without a trailing slash; a redirect would lose the body.
APPEND_SLASH = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_USER_MODEL = "fleet.User"
LOGIN_URL = "/login/"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/login/"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django.contrib.postgres",
    "rest_framework",
    "drf_spectacular",
    "django_filters",
    "django_htmx",
    "django_prometheus",
    "axes",
    "csp",
    "fleet",
    "telemetry",
    "drift",
    "rollouts",
]

MIDDLEWARE = [
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    # outside of whatever reads or writes the body of an answer
    "fleet.middleware.CompressText",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "axes.middleware.AxesMiddleware",
    "fleet.middleware.RequireLength",
    "django_prometheus.middleware.PrometheusAfterMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "img-src": [SELF, "data:", "blob:"],
        # plotly.js sets style attributes on its own SVG nodes
        "style-src": [SELF, "'unsafe-inline'"],
        "frame-ancestors": [NONE],
        "form-action": [SELF],
        "base-uri": [SELF],
    }
}

STATIC_URL = "/static/"
STATIC_ROOT = LOCAL_DIR / "static"
STATICFILES_DIRS = [
    BASE_DIR / "static",
    # plotly.js comes with the plotly package; there is no copy of it in this repository
    ("plotly", Path(plotly.__file__).parent / "package_data"),
]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"
        if env.bool("RIDGELINE_STATIC_MANIFEST", default=False)
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}
WHITENOISE_USE_FINDERS = True
MEDIA_ROOT = Path(env("RIDGELINE_ARTIFACT_DIR", default=str(LOCAL_DIR / "artifacts")))
ARTIFACT_MAX_BYTES = env.int("RIDGELINE_ARTIFACT_MAX_BYTES", default=4 << 30)
# How often OTA clients that speak DDI poll: HH:MM:SS, below a day.
DDI_POLL_SLEEP = env("RIDGELINE_DDI_POLL_SLEEP", default="00:05:00")
# Refuse to publish a release with an artifact that no registered key has signed.
REQUIRE_SIGNED_ARTIFACTS = env.bool("RIDGELINE_REQUIRE_SIGNED_ARTIFACTS", default=False)

# --- database -------------------------------------------------------------------------------------------------------
# PgBouncer in transaction mode is supported: no session state, no server-side cursors, no temp tables kept.
DATABASES = {"default": env.db_url_config(DATABASE_URL)}
DATABASES["default"].update(
    ENGINE="django.db.backends.postgresql",
    CONN_MAX_AGE=0,
    DISABLE_SERVER_SIDE_CURSORS=True,
    OPTIONS={
        # A server that is gone without a word is noticed within this time, not after the system's quarter of an hour.
        "connect_timeout": 5,
        "tcp_user_timeout": 15_000,  # ms
        "keepalives_idle": 30,
        # What the store runs often on a connection is prepared; off for a PgBouncer that cannot (before 1.21).
        "prepare_threshold": 5 if env.bool("RIDGELINE_PREPARED_STATEMENTS", default=True) else None,
        "pool": {
            "min_size": 1,
            "max_size": env.int("RIDGELINE_DB_POOL", default=16),
            # a request waits this long for a connection, then is answered 503 with Retry-After
            "timeout": env.float("RIDGELINE_DB_POOL_TIMEOUT", default=3.0),
        },
    },
    TEST={"NAME": env("TEST_DATABASE_NAME", default="test_ridgeline")},
)

CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL}}

# --- time and language ----------------------------------------------------------------------------------------------
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en-gb"
USE_I18N = False

# --- log-in ---------------------------------------------------------------------------------------------------------
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AXES_FAILURE_LIMIT = 10
AXES_COOLOFF_TIME = 0.25  # hours
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_ENABLED = env.bool("RIDGELINE_LOGIN_THROTTLE", default=True)
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

# --- REST -----------------------------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "fleet.authentication.BearerAuthentication",
        "fleet.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["fleet.permissions.HasScope"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["fleet.parsers.JSONParser"],
    "DEFAULT_PAGINATION_CLASS": "fleet.pagination.CursorPagination",
    "PAGE_SIZE": 100,
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "config.errors.exception_handler",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Ridgeline",
    "VERSION": "1",
    "DESCRIPTION": "Telemetry, drift statistics and staged rollouts for fleets of edge-AI devices.",
    "SERVE_INCLUDE_SCHEMA": False,
    "PREPROCESSING_HOOKS": ["fleet.openapi.one_spelling"],
    "ENUM_NAME_OVERRIDES": {
        "RoleEnum": "fleet.models.people.Role",
        "DeviceStatusEnum": "fleet.models.devices.Device.Status",
        "ReleaseStatusEnum": "fleet.models.releases.Release.Status",
        "EnrolledStatusEnum": "fleet.api.enrollment.ENROLLED_STATUS",
        "SeverityEnum": "drift.models.alarms.Alarm.Severity",
        "ProgressEnum": "drift.models.evaluations.Progress",
        "RetrospectiveKindEnum": "drift.models.evaluations.Retrospective.Kind",
        "EvaluationKindEnum": "drift.models.evaluations.Evaluation.Kind",
        "ChannelKindEnum": "drift.models.alarms.NotificationChannel.Kind",
        "SystemStateEnum": "telemetry.api.status.STATES",
    },
    "COMPONENT_SPLIT_REQUEST": True,
}

# --- Celery ---------------------------------------------------------------------------------------------------------
CELERY_BROKER_URL = REDIS_URL
CELERY_TASK_DEFAULT_QUEUE = env("RIDGELINE_CELERY_QUEUE", default="ridgeline")
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TIMEZONE = "UTC"
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BEAT_SCHEDULE_FILENAME = str(LOCAL_DIR / "celerybeat-schedule")

# --- telemetry ------------------------------------------------------------------------------------------------------
TELEMETRY_MAX_COMPRESSED_BYTES = 1 << 20
TELEMETRY_MAX_BYTES = 8 << 20
TELEMETRY_MAX_INFERENCES = 5_000
# Requests per second that a device may send in the long run, and how many at once; events and windows apart from bulk.
INGEST_RATE = env.float("RIDGELINE_INGEST_RATE", default=50.0)
INGEST_BURST = env.int("RIDGELINE_INGEST_BURST", default=500)
# A statement of ingest that takes longer is given up and answered 503 with Retry-After; devices wait 20 seconds.
INGEST_DB_TIMEOUT = env.float("RIDGELINE_INGEST_DB_TIMEOUT", default=10.0)
RETENTION_DAYS = {
    "raw": env.int("RIDGELINE_RETENTION_RAW_DAYS", default=14),
    "minute": env.int("RIDGELINE_RETENTION_MINUTE_DAYS", default=90),
    "hour": env.int("RIDGELINE_RETENTION_HOUR_DAYS", default=730),
    "event": env.int("RIDGELINE_RETENTION_EVENT_DAYS", default=730),
    "ledger": env.int("RIDGELINE_RETENTION_LEDGER_DAYS", default=90),
    "quarantine": env.int("RIDGELINE_RETENTION_QUARANTINE_DAYS", default=30),
}

# Enrolments per minute and address, and how many of them with a bad key; beyond that the answer is 429.
ENROLL_PER_MINUTE = env.int("RIDGELINE_ENROLL_PER_MINUTE", default=6_000)
ENROLL_FAILURES_PER_MINUTE = env.int("RIDGELINE_ENROLL_FAILURES_PER_MINUTE", default=60)

# The module that knows who was drawn into which arm and who is held back, see drift/services/cohorts.py.
DRIFT_COHORTS = "rollouts.selectors.comparisons"

# Functions `(selection, *, start, end) -> [(moment, words)]`: what time charts mark beside arrivals of releases.
CHART_MARKS = ["rollouts.selectors.stage_marks.stage_marks"]

# Functions `(now) -> {device id: directives}`: what else asks devices for more than operators do.
DIRECTIVE_SOURCES = ["rollouts.selectors.directives.of_running_stages"]

# The sections of the status page, `(now) -> fleet.status.Section`, in the order in which they are shown.
STATUS_SECTIONS = [
    "telemetry.selectors.status.database.database",
    "telemetry.selectors.status.ingest.ingest",
    "telemetry.selectors.status.tasks.redis_server",
    "telemetry.selectors.status.tasks.background_work",
    "telemetry.selectors.status.upkeep.upkeep",
    "telemetry.selectors.status.server.server",
    "drift.selectors.status.notifications",
    "rollouts.selectors.status.webhooks",
]

# With a token, /metrics answers its bearers alone; without one it is open, as Prometheus expects inside a network.
METRICS_TOKEN = env("RIDGELINE_METRICS_TOKEN", default="")

# --- mail and logs --------------------------------------------------------------------------------------------------
EMAIL_URL = env("EMAIL_URL", default="consolemail://")
vars().update(env.email_url_config(EMAIL_URL))
DEFAULT_FROM_EMAIL = env("DEFAULT_FROM_EMAIL", default="ridgeline@localhost")

structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(),
    ],
    wrapper_class=structlog.make_filtering_bound_logger(20),
    cache_logger_on_first_use=True,
)
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["console"], "level": env("RIDGELINE_LOG_LEVEL", default="WARNING")},
    # Refusals (4xx) are the sender's affair and are counted in the metrics; a line each would let anyone fill the disk.
    "loggers": {"django.request": {"level": "ERROR"}},
}
