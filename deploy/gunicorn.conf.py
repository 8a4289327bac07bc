"""How the web server runs: a few processes with threads, since psycopg and numpy let other threads work meanwhile."""

import os
import shutil
import tempfile
from pathlib import Path

wsgi_app = "config.wsgi:application"
worker_class = "gthread"
workers = int(os.environ.get("RIDGELINE_WEB_WORKERS", "0")) or min(4, (os.cpu_count() or 1) + 1)
threads = int(os.environ.get("RIDGELINE_WEB_THREADS", "8"))
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


def on_starting(server):
    """Give the workers one folder in which they add up their metrics."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        server.metrics_folder = os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix="ridgeline-metrics-")


def child_exit(server, worker):
    """Take a worker's gauges out of the metrics when it is gone."""
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(worker.pid)


def on_exit(server):
    """Remove the folder again."""
    shutil.rmtree(getattr(server, "metrics_folder", ""), ignore_errors=True)
