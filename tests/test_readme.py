"""What the README says of the code is so: its diagram, its files, its functions."""

import re
from pathlib import Path

from rollouts import machine

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
# `path/with.ext` or `path/`, and `path` `function` as the walk through the code writes it
PATH = re.compile(r"`((?:[\w.-]+/)+[\w.-]*|[\w-]+\.(?:py|md|toml))`")
FUNCTION = re.compile(r"`([\w/]+\.py)` `([\w.]+)`")


def test_the_state_diagram_is_the_transition_table() -> None:
    assert machine.mermaid() in README


def test_every_file_that_is_named_exists() -> None:
    named = set(PATH.findall(README))
    assert len(named) > 40
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


def test_every_function_of_the_walk_through_the_code_is_defined_where_it_is_said_to_be() -> None:
    found = FUNCTION.findall(README)
    assert len(found) >= 8
    missing = [
        f"{path} {name}"
        for path, name in found
        if not re.search(rf"^\s*(?:def|class) {name.split('.')[-1]}\b", (ROOT / path).read_text(), re.MULTILINE)
    ]
    assert missing == []


def test_every_link_leads_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert [link for link in links if not (ROOT / link).exists()] == []
