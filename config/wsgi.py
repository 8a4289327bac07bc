"""The WSGI application that gunicorn serves: Django, behind the shortcut for telemetry."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

django = get_wsgi_application()

# only now can the product's modules be imported
from telemetry.api.shortcut import TelemetryShortcut  # noqa: E402

application = TelemetryShortcut(django)
