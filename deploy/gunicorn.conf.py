"""How the web server runs: a few processes with threads, since psycopg and numpy let other threads work meanwhile."""

import os
import shutil
import tempfile
from pathlib import Path

wsgi_app = "config.wsgi:application"
worker_class = "gthread"
workers = int(os.environ.get("RIDGELINE_WEB_WORKERS", "0")) or min(4, (os.cpu_count() or 1) + 1)
# Batches that these threads hold at the same time are stored in one transaction, which only one of them then needs.
threads = int(os.environ.get("RIDGELINE_WEB_THREADS", "16"))
# The product is imported once and then forked: it starts sooner and its processes share their memory.
preload_app = True
timeout = 60
graceful_timeout = 20
# Devices push every few seconds over one connection; a handshake each time would cost more than the request.
keepalive = 75
backlog = 2048
# The heartbeat file must not wait for a slow disk.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None
control_socket_disable = True
errorlog = "-"
loglevel = os.environ.get("RIDGELINE_WEB_LOG_LEVEL", "warning")

# The processes add up their metrics in one folder, which must be known before the product is imported.
_made_here = None
if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
    _made_here = os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix="ridgeline-metrics-")


def when_ready(server):
    """Import the views as well, before the first fork; Django would leave that to each process's first request."""
    from django.urls import get_resolver

    _ = get_resolver().url_patterns


def child_exit(server, worker):
    """Take a worker's gauges out of the metrics when it is gone."""
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(worker.pid)


def on_exit(server):
    """Remove the metrics' folder again, if it was made here."""
    if _made_here is not None:
        shutil.rmtree(_made_here, ignore_errors=True)
