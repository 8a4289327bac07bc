"""REST: artifacts of releases."""

import io
from collections.abc import Iterator
from typing import IO, Any

from django.conf import settings
from django.http import Http404
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import parsers, serializers
from rest_framework.request import Request
from rest_framework.response import Response

from fleet.api.fields import LabelField
from fleet.api.resources import Resource, find
from fleet.downloads import BLOCK_BYTES
from fleet.exceptions import TooLarge
from fleet.models import Artifact, HardwareTarget, Release, SigningKey
from fleet.openapi import READ, WRITE
from fleet.parsers import JSONParser, StreamParser
from fleet.services import artifacts

# What a form may have around the file.
FORM_BYTES = 1 << 16


class SigningKeyField(serializers.SlugRelatedField):
    """A signing key by its name."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(slug_field="name", queryset=SigningKey.objects.filter(revoked_at__isnull=True), **kwargs)


class ArtifactSerializer(serializers.ModelSerializer):
    """A file of a release."""

    hardware_target = LabelField(HardwareTarget, required=False, allow_null=True)
    sha256 = serializers.CharField(max_length=80, required=False, allow_blank=True)
    size = serializers.IntegerField(required=False, min_value=0, max_value=2**62)
    signature = serializers.CharField(required=False, allow_blank=True, max_length=256)
    signing_key = SigningKeyField(required=False, allow_null=True)
    part = serializers.RegexField(r"^[a-z0-9][a-z0-9_.-]*$", max_length=32, required=False)
    stored = serializers.SerializerMethodField()
    download = serializers.SerializerMethodField()

    class Meta:
        model = Artifact
        fields = [
            "id",
            "filename",
            "part",
            "hardware_target",
            "size",
            "sha256",
            "sha1",
            "md5",
            "url",
            "signature",
            "signature_form",
            "signing_key",
            "created_at",
            "stored",
            "download",
        ]
        read_only_fields = ["id", "signature_form", "created_at"]

    def get_stored(self, artifact: Artifact) -> bool:
        """Whether the file itself is here."""
        return bool(artifact.path)

    def get_download(self, artifact: Artifact) -> str | None:
        """Where the file is fetched: here, or at the address it was registered with."""
        return f"/artifacts/{artifact.sha256}/{artifact.filename}" if artifact.path else artifact.url or None

    def to_representation(self, artifact: Artifact) -> dict[str, Any]:
        """The fields, with the signature as hexadecimal."""
        signature = bytes(artifact.signature).hex() if artifact.signature else None
        signer = artifact.signing_key.name if artifact.signing_key else None
        return super().to_representation(artifact) | {"signature": signature, "signing_key": signer}


class UploadSerializer(ArtifactSerializer):
    """A file with what is said about it: multipart/form-data, or a raw body with the fields in the query."""

    file = serializers.FileField(write_only=True, allow_empty_file=True)

    class Meta(ArtifactSerializer.Meta):
        fields = [*ArtifactSerializer.Meta.fields, "file"]
        extra_kwargs = {"filename": {"required": False}}


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    while block := file.read(BLOCK_BYTES):
        yield block


@extend_schema_view(
    list=extend_schema(responses={200: ArtifactSerializer(many=True), **READ}),
    retrieve=extend_schema(
        responses={200: ArtifactSerializer, **READ},
        parameters=[OpenApiParameter("filename", str, OpenApiParameter.PATH)],
    ),
)
class ArtifactViewSet(Resource):
    """The files of one release."""

    scope = "releases"
    queryset = Artifact.objects.select_related("release__workload", "hardware_target", "signing_key")
    serializer_class = ArtifactSerializer
    parser_classes = [parsers.MultiPartParser, StreamParser, JSONParser]
    pagination_class = None

    def release(self) -> Release:
        """The release that the path names."""
        return find(Release.objects.select_related("workload"), self.kwargs["reference"])

    def get_queryset(self) -> Any:
        """The files of that release."""
        rows = super().get_queryset()
        return rows if getattr(self, "swagger_fake_view", False) else rows.filter(release=self.release())

    def get_object(self) -> Artifact:
        """The file that the path names."""
        filename = self.kwargs["filename"]
        artifact = self.get_queryset().filter(filename=filename).first() if "\0" not in filename else None
        if artifact is None:
            raise Http404(f"The release has no file “{filename}”.")
        return artifact

    @extend_schema(
        request={
            "multipart/form-data": UploadSerializer,
            "application/octet-stream": bytes,
            "application/json": ArtifactSerializer,
        },
        responses={201: ArtifactSerializer, **WRITE},
        parameters=[
            OpenApiParameter(name, str, description=f"With a raw body: {text}")
            for name, text in {
                "filename": "the name of the file.",
                "part": "model, firmware, runtime, os or bundle.",
                "sha256": "what the file must hash to.",
                "signature": "Ed25519 over the file or over its raw SHA-256, hexadecimal or base64.",
            }.items()
        ],
    )
    def create(self, request: Request, reference: str) -> Response:
        """Upload a file (multipart or raw), or describe one that lives elsewhere (JSON).

        The SHA-256, where given, must match; SHA-1 and MD5 are computed for old clients; a signature must be of a
        registered key.
        """
        # Refused before the form's parser fills the disk with it; a raw body is counted while it is read.
        if int(request.META.get("CONTENT_LENGTH") or 0) > settings.ARTIFACT_MAX_BYTES + FORM_BYTES:
            raise TooLarge(f"An artifact may have at most {settings.ARTIFACT_MAX_BYTES} bytes.")
        release = self.release()
        kind = request.content_type.partition(";")[0].strip().lower()
        if kind == "application/json":
            description = artifacts.Description(**self.valid(ArtifactSerializer))
            artifact = artifacts.describe_artifact(release, description, actor=self.actor, now=self.now)
        else:
            raw = kind == StreamParser.media_type
            fields = self._upload_fields(raw)
            # An empty body is not parsed at all, and is an empty file.
            file = request.data.get("file", io.BytesIO())
            chunks = _pieces(file) if raw else file.chunks(BLOCK_BYTES)
            description = artifacts.Description(**fields)
            artifact = artifacts.upload_artifact(release, description, chunks, actor=self.actor, now=self.now)
        return Response(self.get_serializer(artifact).data, status=201)

    def _upload_fields(self, raw: bool) -> dict[str, Any]:
        """What was said about the file: beside it in the form, or in the query of a raw body."""
        said = self.request.query_params if raw else self.request.data
        names = [name for name, field in ArtifactSerializer().fields.items() if not field.read_only]
        data = {name: said[name] for name in names if said.get(name)}
        if not raw:
            file = self.request.data.get("file")
            if not hasattr(file, "chunks"):
                raise serializers.ValidationError({"file": "Send the file in the field “file”."})
            data.setdefault("filename", file.name)
        serializer = ArtifactSerializer(data=data, context=self.get_serializer_context())
        serializer.is_valid(raise_exception=True)
        return serializer.validated_data

    @extend_schema(
        responses={204: None, **WRITE}, parameters=[OpenApiParameter("filename", str, OpenApiParameter.PATH)]
    )
    def destroy(self, request: Request, reference: str, filename: str) -> Response:
        """Take a file out of a draft."""
        artifacts.remove_artifact(self.get_object(), actor=self.actor, now=self.now)
        return Response(status=204)
