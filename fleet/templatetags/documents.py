"""Template filters for documents that are kept as they are."""

import json
from typing import Any

from django import template

register = template.Library()


@register.filter
def pretty_json(document: Any) -> str:
    """A document as JSON in lines, as the API gives it too."""
    return json.dumps(document, indent=2, ensure_ascii=False, default=str)
