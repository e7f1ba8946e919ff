"""Makes the pictures of docs/page.md from three nodes that run: `python -m tests.page`.

Needs Chromium, and pngquant to make the files small (apt-get install chromium pngquant). Runs no test.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bus.testing.brokers import NatsServer
from tests.cli.kit import Node
from tests.page.browser import chromium, tab
from tests.page.kit import publish_over_http

IMAGES = Path(__file__).parents[2] / "docs" / "images"
NAMES = ("mail-1", "mail-2", "mail-3")
EVENTS = (
    ("cache.invalidated", '{"account": 7, "keys": ["inbox", "sent"]}'),
    ("mail.inbox.new", '{"account": 12, "uid": 40231}'),
    ("settings.changed", '{"key": "queue.retry", "by": "ops"}'),
)
MOST_BYTES = 150_000


@contextmanager
def cluster() -> Generator[list[Node]]:
    """Three nodes on one NATS server."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        server = stack.enter_context(NatsServer())
        nodes: list[Node] = []
        for name in NAMES:
            nodes.append(Node(Path(folder), name, ["--url", server.url]))
            stack.callback(nodes[-1].process.stop)
        yield nodes


def make(nodes: list[Node]) -> Generator[Path]:
    """Both views, both themes, both widths."""
    with chromium() as browser:
        for theme in ("light", "dark"):
            for width in (1280, 360):
                with tab(browser, width=width, height=800, theme=theme) as made:
                    page = made.page
                    page.goto(f"{nodes[0].url}/#/settings/cluster/coordinator")
                    page.get_by_label("Access token").fill(nodes[0].token.read_text().strip())
                    page.keyboard.press("Enter")
                    page.get_by_text(re.compile("never changed")).wait_for()
                    made.check()
                    page.screenshot(path=IMAGES / f"settings-{theme}-{width}.png")
                    yield IMAGES / f"settings-{theme}-{width}.png"
                    page.get_by_role("link", name="Live").click()
                    page.get_by_text("Nobody is deaf.").wait_for()
                    for number in range(18):
                        publish_over_http(nodes[number % 3], *EVENTS[number * 5 // 3 % 3])
                    page.get_by_role("region", name="Last events").get_by_role("button").nth(2).click()
                    page.get_by_label("Text", exact=True).fill("Is everybody here?")
                    page.get_by_role("button", name="Publish").click()
                    page.get_by_role("status").filter(has_text="heard by").wait_for()
                    made.check()
                    page.screenshot(path=IMAGES / f"live-{theme}-{width}.png", full_page=True)
                    yield IMAGES / f"live-{theme}-{width}.png"


def main() -> int:
    """Write them; ends with 1 when one is too large."""
    IMAGES.mkdir(exist_ok=True)
    with cluster() as nodes:
        files = list(make(nodes))
    too_large = 0
    for file in files:
        subprocess.run(
            ["pngquant", "--force", "--skip-if-larger", "--strip", "--output", str(file), "64", str(file)]
        )
        size = file.stat().st_size
        too_large += size > MOST_BYTES
        sys.stdout.write(f"{size:>8} {file.name}\n")
    return bool(too_large)


if __name__ == "__main__":
    sys.exit(main())
