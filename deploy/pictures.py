"""The command script/pictures: takes the pictures of the README from a running demo, in headless Chromium."""

import argparse
import shutil
import sys

import environment
from provisioning.state import CHECKOUT, State

FOLDER = CHECKOUT / "static" / "img" / "pictures"
# name, page, width, height, colour scheme
PICTURES = (
    ("rollout-board", "/rollouts/1/", 1400, 940, "light"),
    ("fleet", "/", 1400, 900, "dark"),
    ("device-phone", "/devices/", 390, 844, "light"),
)
SETTLED_MS = 2500


def main() -> int:
    """Run the command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="script/pictures", description=__doc__)
    parser.add_argument("url", help="address of a running script/demo")
    parser.add_argument("--user", default="mara")
    parser.add_argument("--password", default="ridges-and-canaries")
    options = parser.parse_args()
    environment.prepare(State.of_checkout(), "dev")
    chromium = shutil.which("chromium")
    if chromium is None:
        print("Chromium is needed: script/bootstrap --dev installs it.", file=sys.stderr)
        return 1
    sys.path[:0] = [str(path) for path in (environment.FOLDER / "lib").glob("python3*/site-packages")]
    take(options.url.rstrip("/"), options.user, options.password, chromium)
    return 0


def take(url: str, user: str, password: str, chromium: str) -> None:
    """Sign in once per picture and photograph what a visitor sees first."""
    from playwright.sync_api import sync_playwright

    FOLDER.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        for name, path, width, height, scheme in PICTURES:
            context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
            page = context.new_page()
            page.goto(f"{url}/login/")
            page.fill("input[name=username]", user)
            page.fill("input[name=password]", password)
            page.click("button[type=submit]")
            page.goto(f"{url}{path}")
            page.wait_for_load_state("networkidle")
            page.wait_for_timeout(SETTLED_MS)
            page.screenshot(path=FOLDER / f"{name}.png")
            print(f"{name}.png")
            context.close()
        browser.close()


if __name__ == "__main__":
    sys.exit(main())
