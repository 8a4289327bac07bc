"""The OpenAPI description: complete, free of warnings, and true to the routes."""

import json

import pytest
from django.core.management import call_command
from django.urls import get_resolver
from django.urls.resolvers import URLResolver

import fleet.openapi


@pytest.fixture(scope="module")
def schema(tmp_path_factory) -> dict:
    path = tmp_path_factory.mktemp("schema") / "schema.json"
    call_command("spectacular", "--validate", "--fail-on-warn", "--format", "openapi-json", "--file", str(path))
    return json.loads(path.read_text())


def routes(resolver: URLResolver, prefix: str = "") -> list[str]:
    found = []
    for pattern in resolver.url_patterns:
        path = prefix + str(pattern.pattern)
        found += routes(pattern, path) if isinstance(pattern, URLResolver) else [path]
    return found


def test_the_description_is_valid_and_raises_no_warning(schema):
    assert schema["openapi"].startswith("3.")


def test_every_rest_address_of_the_contract_is_described(schema):
    nouns = {path.removeprefix("/api/v1/").split("/")[0] for path in schema["paths"]}
    assert nouns >= {
        *("workloads", "hardware-targets", "regions", "devices", "enrollment-keys", "releases", "budgets", "waivers"),
        *("audit", "enroll", "groups", "users", "tokens", "signing-keys", "me"),
    }


def test_each_address_is_described_once(schema):
    spellings = [path.rstrip("/") for path in schema["paths"]]
    assert len(spellings) == len(set(spellings))


def test_every_operation_says_how_it_refuses(schema):
    fleet_operations = [
        (path, verb, operation)
        for path, verbs in schema["paths"].items()
        for verb, operation in verbs.items()
        if path.split("/")[3] in ("devices", "releases", "budgets", "waivers", "tokens", "users", "enrollment-keys")
    ]
    assert fleet_operations
    for path, verb, operation in fleet_operations:
        assert {"401", "403"} <= set(operation["responses"]), (path, verb)
        if verb in ("post", "patch"):
            assert "422" in operation["responses"], (path, verb)


def test_devices_and_people_are_described_with_their_way_to_identify(schema):
    assert set(schema["components"]["securitySchemes"]) == {"bearer", "session"}
    assert schema["paths"]["/api/v1/enroll"]["post"].get("security", []) in ([], [{}])


@pytest.mark.django_db
def test_the_description_is_served_and_loads_nothing_from_elsewhere(client):
    answer = client.get("/api/schema/?format=json")
    assert answer.status_code == 200
    assert json.loads(answer.content)["info"]["title"] == "Ridgeline"


def test_every_rest_route_exists_with_and_without_a_slash_at_its_end():
    found = {route for route in routes(get_resolver()) if route.startswith("api/v1/") and "<format>" not in route}
    plain = {route for route in found if "(" not in route and "^" not in route}
    assert plain
    assert {route for route in plain if (route + "/" if not route.endswith("/") else route[:-1]) not in plain} == set()


def test_an_address_that_exists_with_a_slash_alone_is_kept():
    endpoints = [
        ("/a", "", "GET", print),
        ("/a/", "", "GET", print),
        ("/b/", "", "GET", print),
        ("/c.csv", "", "GET", print),
    ]
    assert [endpoint[0] for endpoint in fleet.openapi.one_spelling(endpoints)] == ["/a", "/b/"]
