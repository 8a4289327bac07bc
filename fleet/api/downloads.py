"""The download of artifacts, by devices and people."""

import re
from typing import Any

from django.http import HttpRequest, HttpResponseBase
from django.utils import timezone
from django.views.decorators.http import require_safe
from rest_framework import exceptions

from fleet import scopes
from fleet.authentication import bearer_token
from fleet.downloads import send_file
from fleet.exceptions import NotAllowed
from fleet.models import Artifact, Token
from fleet.permissions import assert_may_send
from fleet.problems import problem_response
from fleet.selectors.releases import artifacts_for
from fleet.services import artifacts, tokens

YEAR_S = 365 * 86400
_SHA256 = re.compile(r"[0-9a-f]{64}")


@require_safe
def download(request: HttpRequest, sha256: str, filename: str) -> HttpResponseBase:
    """GET or HEAD /artifacts/<sha256>/<filename>, by a device's token, an API token or a session.

    A plain view: old updaters send `Accept: application/octet-stream`, and the answer is a stream with ranges.
    """
    try:
        rows = _visible_artifacts(request)
    except exceptions.NotAuthenticated:
        headers = {"WWW-Authenticate": 'Bearer realm="ridgeline"'}
        return problem_response(401, "bad_token", "A good token or a session is needed.", headers=headers)
    except NotAllowed as exc:
        return problem_response(403, exc.code, exc.detail)
    artifact = (
        rows.filter(sha256=sha256, filename=filename).exclude(path="").first() if _SHA256.fullmatch(sha256) else None
    )
    path = artifacts.location(artifact) if artifact else None
    if path is None or not path.exists():
        return problem_response(404, "not_found", "There is no such file.")
    return send_file(request, path, filename=filename, etag=sha256, modified=artifact.created_at, max_age_s=YEAR_S)


def _visible_artifacts(request: HttpRequest) -> Any:
    raw = bearer_token(request)
    if raw is None:
        if not request.user.is_authenticated:
            raise exceptions.NotAuthenticated
        return Artifact.objects.all()
    token = tokens.authenticate(raw, timezone.now())
    if token is None:
        raise exceptions.NotAuthenticated
    if token.kind != Token.Kind.API:
        assert_may_send(token.device)
        return artifacts_for(token.device)
    if "releases:read" not in scopes.narrow(scopes.scopes_of_user(token.user), token.scopes):
        raise NotAllowed("This needs the right releases:read.")
    return Artifact.objects.all()
