"""A worker that is killed in the middle of a look delays it by seconds: its lock ends with its connection."""

import os
import signal
import subprocess
import sys
from urllib.parse import urlsplit

import pytest
from django.db import connection, transaction

from rollouts.models import StageRun
from rollouts.services import evaluating
from tests.rollouts.conftest import MINUTE

# What a worker does in a look, stuck in its longest query.
LOOK = """
import sys, django
django.setup()
from django.db import connection, transaction
from rollouts.services import evaluating
with transaction.atomic():
    print(evaluating._locked(int(sys.argv[1])), flush=True)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(600)")
"""


@pytest.mark.django_db(transaction=True)
def test_a_worker_killed_in_the_middle_of_a_query_lets_go_of_the_run_within_seconds(quick):
    game = quick(advised=False)
    later = game.now + 11 * MINUTE
    run = StageRun.objects.get()
    url = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{connection.settings_dict['NAME']}").geturl()
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings", "DATABASE_URL": url}
    worker = subprocess.Popen(
        [sys.executable, "-c", LOOK, str(run.pk)], env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert worker.stdout.readline() == "True\n"
        assert evaluating.evaluate(run.pk, later) is None, "somebody is at it"
    finally:
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    with transaction.atomic(), connection.cursor() as cursor:
        # Waits for the lock itself, so no longer than it is held.
        cursor.execute("SET LOCAL lock_timeout = '10s'")
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [evaluating.ADVISORY_LOCK, run.pk])
    assert evaluating.evaluate(run.pk, later).look == 1
