"""What axe, the accessibility checker, says of a page that is open in the browser."""

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

AXE = Axe()
# WCAG 2.1, levels A and AA; only what fails is told in detail, which takes half the time of telling everything.
OPTIONS = {
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]},
    "resultTypes": ["violations"],
}


def violations(page: Page) -> list[str]:
    """One line per element that breaks a rule."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE.axe_script)
    return [
        f"{violation['id']} ({violation['impact']}): {node['html'][:160]} {node.get('any', [{}])[:1]}"
        for violation in page.evaluate("(options) => axe.run(document, options)", OPTIONS)["violations"]
        for node in violation["nodes"]
    ]
