"""The page in a real browser: an operator signs in, edits, tries, saves, looks, publishes, with the keyboard.

All of it in one Chromium, against real nodes on a real NATS server; under a minute.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bus.admin import Tokens
from bus.config import Duration
from bus.errors import ConfigError
from bus.testing.brokers import Broker, free_port
from bus.testing.brokers.process import accepts, own_path
from bus.testing.leaks import children, spared
from tests.cli.kit import Node, until
from tests.page.browser import Tab, chromium, tab
from tests.page.kit import ask_over_http, publish_over_http as publish

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

Open = Callable[..., AbstractContextManager[Tab]]
NAMES = ("mail-1", "mail-2", "mail-3.a-machine-with-a-long-name.example.org:1234567")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as made:
        # Its driver and its processes stay for all tests of this file.
        before = set(children())
        spared.update(before)
        yield made
    spared.difference_update(before)


@pytest.fixture(scope="module")
def cluster(nats_server: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Node]]:
    """Three nodes on one server."""
    folder = tmp_path_factory.mktemp("page")
    nodes: list[Node] = []
    try:
        for name in NAMES:
            nodes.append(Node(folder, name, ["--url", nats_server.url, "--cluster", "page"]))
            nodes[-1].process.keep()
        yield nodes
    finally:
        for node in nodes:
            node.process.stop()


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Node]:
    """One node on Memory, for tests that change it."""
    node = Node(tmp_path, "alone", ["--url", "memory://"])
    try:
        yield node
    finally:
        node.process.stop()


@pytest.fixture
def open_at(browser: Browser) -> Open:
    """`open_at(node, "#/live")`: a tab that has signed in and shows a view."""

    @contextmanager
    def opened(node: Node, view: str = "", **options: Any) -> Generator[Tab]:
        with tab(browser, **options) as made:
            made.page.goto(f"{node.url}/{view}")
            sign_in(made.page, node)
            yield made

    return opened


def sign_in(page: Page, node: Node) -> None:
    page.get_by_label("Access token").fill(node.token.read_text().strip())
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Sign out").wait_for()


def settled(page: Page) -> None:
    """The settings are there, and no dialogue with the node is under way."""
    page.get_by_text(re.compile("^Version .*(never changed|changed by)")).wait_for()


def stored(node: Node) -> Any:
    using = ["urn:ietf:params:jmap:core", "urn:stalwart:jmap"]
    found = ask_over_http(node, "/api", {"using": using, "methodCalls": [["x:Coordinator/get", {}, "c"]]})
    return found["methodResponses"][0][1]["list"][0]


# -- the way in ------------------------------------------------------------------------------------


def test_signing_in_and_out_leaves_nothing_behind(browser: Browser, cluster: list[Node]) -> None:
    node = cluster[0]
    with tab(browser) as made:
        page = made.page
        page.goto(node.url)
        page.get_by_label("Access token").wait_for()
        made.check()
        made.check_rules()
        page.get_by_label("Access token").fill("wrong")
        page.keyboard.press("Enter")
        page.get_by_role("alert").filter(has_text="unknown, revoked or expired").wait_for()
        # The browser itself reports each 401.
        assert [text for text in made.errors if "401" not in text] == []
        made.errors.clear()
        sign_in(page, node)
        settled(page)
        token = node.token.read_text().strip()
        assert token not in page.content()
        assert token not in page.url
        assert page.evaluate("document.cookie") == ""
        (cookie,) = page.context.cookies()
        assert (cookie.get("httpOnly"), cookie.get("secure"), cookie.get("sameSite")) == (
            True,
            True,
            "Strict",
        )
        # A deep link survives a reload, and the back button.
        page.get_by_role("link", name="Live").click()
        page.get_by_role("heading", name="Who hears whom").wait_for()
        page.reload()
        page.get_by_role("heading", name="Who hears whom").wait_for()
        page.go_back()
        settled(page)
        page.get_by_role("button", name="Sign out").click()
        page.get_by_label("Access token").wait_for()
        page.reload()
        page.get_by_label("Access token").wait_for()
        page.context.add_cookies([cookie])  # type: ignore[list-item]  # as it was given
        page.reload()
        page.get_by_label("Access token").wait_for()
        made.check()


def test_a_browser_that_keeps_no_cookie_without_tls_is_told_why(tmp_path: Path, browser: Browser) -> None:
    node = Node(tmp_path, "far", ["--url", "memory://", "--hosts", "bus.example"])
    try:
        with tab(browser) as made:
            page = made.page
            page.goto(f"http://bus.example:{node.port}/")
            page.get_by_label("Access token").fill(node.token.read_text().strip())
            page.keyboard.press("Enter")
            page.get_by_role("alert").filter(has_text="open this page over https").wait_for()
            assert not page.get_by_role("button", name="Sign out").is_visible()
    finally:
        node.process.stop()


# -- settings --------------------------------------------------------------------------------------


def test_every_variant_shows_its_fields_and_a_draft_survives_a_look_at_another(
    cluster: list[Node], open_at: Open
) -> None:
    with open_at(cluster[0]) as made:
        page = made.page
        settled(page)
        schema: Any = page.evaluate("fetch('/api/schema').then((reply) => reply.json())")
        kind = page.get_by_label("Backend type")
        for tag, variant in schema["$defs"].items():
            kind.select_option(tag)
            shown = page.locator("[data-field]").evaluate_all(
                "(nodes) => nodes.map((node) => node.dataset.field)"
            )
            assert shown == [name for name in variant["properties"] if name not in ("id", "@type")]
            made.check()
            if tag in ("Kafka", "Nats", "Zenoh", "Memory"):
                made.check_rules()
        kind.select_option("Nats")
        page.get_by_label("Ping interval").fill("1m30s")
        page.get_by_text("1 unsaved change", exact=True).wait_for()
        kind.select_option("Redis")
        page.get_by_label("URL", exact=True).fill("redis://elsewhere")
        kind.select_option("Nats")
        assert page.get_by_label("Ping interval").input_value() == "1m30s"
        page.get_by_role("link", name="Live").click()
        page.get_by_role("link", name="Settings").click()
        settled(page)
        assert page.get_by_label("Ping interval").input_value() == "1m30s"
        # What is as it was is no change, however it is written.
        page.get_by_label("Ping interval").fill("60s")
        page.get_by_text("No changes").wait_for()
        made.check()


TEXTS = [
    "5s",
    "1m30s",
    "250ms",
    "7",
    " 1 h 2m ",
    "2D",
    "0ms",
    "0",
    "5sec",
    "1.5s",
    "-1",
    "",
    "s",
    "5s3",
    "99999999999d",
]


def test_durations_mean_the_same_to_the_page_and_to_the_node(cluster: list[Node], open_at: Open) -> None:
    with open_at(cluster[0]) as made:
        page = made.page
        module = str(page.locator("script[type=module]").get_attribute("src")).replace(
            "app.js", "duration.js"
        )
        script = "([module, texts]) => import(module).then(({ parse }) => texts.map(parse))"
        for text, found in zip(TEXTS, page.evaluate(script, [module, TEXTS]), strict=True):
            # What the page cannot read it sends as it is: the node then says what is wrong.
            assert found == meant(text), text
        script = "([module, all]) => import(module).then(({ format }) => all.map(format))"
        numbers = [1, 999, 1000, 5000, 60_000, 90_000, 3_600_000, 86_400_001, 2**53 - 1]
        for number, found in zip(numbers, page.evaluate(script, [module, numbers]), strict=True):
            assert meant(found) == number
        made.check()


def meant(text: str) -> int | None:
    try:
        return Duration(text).ms
    except ConfigError:
        return None


def test_errors_stand_at_their_fields_and_the_first_one_has_the_focus(alone: Node, open_at: Open) -> None:
    with open_at(alone) as made:
        page = made.page
        settled(page)
        page.get_by_label("Backend type").select_option("Nats")
        page.get_by_label("Timeout connection").fill("5sec")
        page.get_by_label("Capacity client").fill("0")
        page.get_by_role("button", name="Save").click()
        page.get_by_role("heading", name="2 fields need another value").wait_for()
        field = page.get_by_label("Timeout connection")
        assert field.get_attribute("aria-invalid") == "true"
        described = str(field.get_attribute("aria-describedby")).split()
        error = page.locator(f"#{described[-1]}")
        assert "5sec" in error.inner_text()
        assert page.evaluate("document.activeElement.id") == field.get_attribute("id")
        made.check()
        made.check_rules()
        page.get_by_role("button", name="Capacity client").click()
        assert page.evaluate("document.activeElement.id") == "field-capacityClient"
        page.get_by_label("Timeout connection").fill("5s")
        assert field.get_attribute("aria-invalid") is None
        assert stored(alone)["@type"] == "Memory"


def test_a_connection_is_tried_and_a_change_is_saved(alone: Node, open_at: Open, nats_server: Broker) -> None:
    with open_at(alone) as made:
        page = made.page
        settled(page)
        page.get_by_label("Backend type").select_option("Nats")
        address = page.get_by_label("Addresses, 1")
        address.fill(f"127.0.0.1:{free_port()}")
        page.get_by_role("button", name="Test connection").click()
        page.get_by_role("heading", name="No connection").wait_for()
        page.get_by_text("Nothing was saved").wait_for()
        made.check()
        address.fill(nats_server.url.removeprefix("nats://"))
        # An address more, by the keyboard alone, and away with it again.
        address.press("Enter")
        page.keyboard.type("127.0.0.1:1")
        assert page.get_by_label("Addresses, 2").input_value() == "127.0.0.1:1"
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        assert page.get_by_label("Addresses, 2").count() == 0
        page.get_by_role("button", name="Test connection").click()
        page.get_by_role("status").filter(has_text="The connection works").wait_for()
        assert stored(alone)["@type"] == "Memory"
        page.get_by_label("Ping interval").fill("30s")
        page.get_by_role("button", name="Save").click()
        page.get_by_role("status").filter(has_text="Saved. The bus runs on NATS now").wait_for()
        page.get_by_text(re.compile("changed by the token “admin”")).wait_for()
        found = stored(alone)
        assert (found["@type"], found["pingInterval"]) == ("Nats", 30_000)
        # A secret: it is kept unless another one is typed, and never shown.
        page.get_by_label("Auth secret").select_option("Value")
        page.get_by_label("Secret", exact=True).fill("canary-of-the-page")
        page.get_by_role("button", name="Save").click()
        page.get_by_role("status").filter(has_text="Saved").wait_for()
        settled(page)
        assert page.get_by_label("Keep the current secret").is_checked()
        page.get_by_label("Ping interval").fill("31s")
        page.get_by_text("1 unsaved change", exact=True).wait_for()
        page.get_by_role("button", name="Save").click()
        page.get_by_role("status").filter(has_text="Saved").wait_for()
        assert "canary-of-the-page" not in page.content()
        assert "canary-of-the-page" in (alone.state / "coordinator.json").read_text()
        made.check()


def test_two_tabs_that_change_the_same_are_shown_both_versions(alone: Node, open_at: Open) -> None:
    with open_at(alone) as one, open_at(alone) as other:
        page = other.page
        settled(page)
        page.get_by_label("Backend type").select_option("Zenoh")
        page.get_by_label("Config", exact=True).fill("{mode: 'peer'}")
        save(one.page, "Disabled")
        # The other one is told at once; what it was about to save is still there, and can be edited.
        page.get_by_role("heading", name="This was changed meanwhile").wait_for()
        row = page.get_by_role("row").filter(has_text="Backend type")
        assert [cell.inner_text() for cell in row.get_by_role("cell").all()][:2] == ["Memory", "Disabled"]
        page.get_by_label("Config", exact=True).fill("{mode: 'client'}")
        page.get_by_role("row").filter(has_text="{mode: 'client'}").wait_for()
        page.get_by_text("The token “admin” has stored another version").wait_for()
        other.check()
        other.check_rules()
        page.get_by_role("button", name="Discard mine").click()
        assert page.get_by_label("Backend type").input_value() == "Disabled"
        page.get_by_text("You see what is stored.").wait_for()


def test_who_has_not_heard_of_a_change_cannot_undo_it_unseen(alone: Node, open_at: Open) -> None:
    with open_at(alone) as one, tab_without_news(open_at, alone) as other:
        page = other.page
        settled(page)
        save(one.page, "Disabled")
        page.get_by_label("Backend type").select_option("Zenoh")
        page.get_by_label("Config", exact=True).fill("{mode: 'peer'}")
        page.get_by_role("button", name="Save").click()
        page.get_by_role("heading", name="This was changed meanwhile").wait_for()
        assert page.evaluate("document.activeElement.textContent") == "This was changed meanwhile"
        assert stored(alone)["@type"] == "Disabled"
        page.get_by_label("Backend type").select_option("Memory")
        page.get_by_role("button", name="Save mine over it").click()
        page.get_by_role("status").filter(has_text="Saved").wait_for()
        assert stored(alone)["@type"] == "Memory"
        # The first one had no edits: it shows the new version by itself.
        one.page.get_by_role("status").filter(has_text="has changed this just now").wait_for()
        assert one.page.get_by_label("Backend type").input_value() == "Memory"


def save(page: Page, kind: str) -> None:
    settled(page)
    page.get_by_label("Backend type").select_option(kind)
    page.get_by_role("button", name="Save").click()
    page.get_by_role("status").filter(has_text="Saved").wait_for()


@contextmanager
def tab_without_news(open_at: Open, node: Node) -> Generator[Tab]:
    """One that never hears of a change: a proxy may hold back streams."""
    with open_at(node, "#/live") as made:
        made.page.route("**/jmap/eventsource*", lambda route: route.abort())
        made.page.get_by_role("link", name="Settings").click()
        yield made


# -- live ------------------------------------------------------------------------------------------


def test_rows_come_without_moving_anything_and_a_form_publishes(cluster: list[Node], open_at: Open) -> None:
    with open_at(cluster[0], "#/live") as made:
        page = made.page
        page.get_by_text("Nobody is deaf.").wait_for()
        made.check()
        made.moved()
        for number in range(15):
            publish(cluster[number % 3], f"demo.number{number}", f"text {number}")
        events = page.get_by_role("region", name="Last events")
        events.get_by_text("text 14", exact=True).wait_for()
        assert made.moved() == []
        made.check()
        made.check_rules()
        # An event is chosen with the keyboard; what comes later does not take it away.
        events.get_by_role("button").first.focus()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        chosen = page.get_by_role("region", name="The chosen event")
        text = chosen.inner_text()
        assert text.startswith("text ")
        page.get_by_label("Topic").nth(1).fill("demo.form")
        page.get_by_label("Text", exact=True).fill("from a form")
        page.get_by_role("button", name="Publish").click()
        page.get_by_role("status").filter(has_text="heard by mail-2, mail-3.a-machine").wait_for()
        events.get_by_text("from a form").wait_for()
        assert chosen.inner_text() == text
        page.get_by_role("button", name="Pause").click()
        publish(cluster[1], "demo.later", "later")
        page.get_by_text(re.compile("paused, 1 waiting")).wait_for()
        assert events.get_by_text("later", exact=True).count() == 0
        page.get_by_role("button", name="Go on").click()
        events.get_by_text("later", exact=True).wait_for()
        page.get_by_label("Topic").first.fill("cache.>")
        page.keyboard.press("Enter")
        page.get_by_text("No events yet.").wait_for()
        publish(cluster[1], "other", "not wanted")
        publish(cluster[1], "cache.a", "wanted")
        events.get_by_text("wanted", exact=True).wait_for()
        assert events.get_by_text("not wanted").count() == 0
        made.check()


HOSTILE = "<img src=x onerror=alert(1)>\u202e<b>\x1b[31m\n" + "x" * 800_000


def test_hostile_and_huge_events_are_text(cluster: list[Node], open_at: Open) -> None:
    with open_at(cluster[0], "#/live") as made:
        page = made.page
        page.get_by_text("Nobody is deaf.").wait_for()
        made.moved()
        publish(cluster[1], HOSTILE[:200], HOSTILE)
        events = page.get_by_role("region", name="Last events")
        line = events.get_by_role("button").first
        line.filter(has_text="<img src=x onerror=alert(1)>\\u202e<b>\\x1b[31m\\n").wait_for()
        line.filter(has_text=re.compile(r"✂ 800,0\d\d characters")).wait_for()
        assert page.locator("main img, main b").count() == 0
        line.click()
        page.get_by_text(re.compile(r"the first 2,\d+ of 800,0\d\d characters")).wait_for()
        assert made.moved() == []
        made.check()


FLOOD = """
import asyncio, sys
from bus import Bus, Message
async def main():
    async with Bus.open(sys.argv[1], node="flood", cluster="page") as bus:
        await bus.ready(peers=3)
        while True:
            for number in range(500):
                bus.publish(Message("flood", b"%d" % number))
            await bus.room()
            await asyncio.sleep(0.01)
asyncio.run(main())
"""


def test_a_flood_of_events_leaves_the_page_usable(cluster: list[Node], open_at: Open) -> None:
    url = f"nats://{stored(cluster[0])['addresses'][0]}"
    with open_at(cluster[0], "#/live") as made:
        page = made.page
        page.get_by_text("Nobody is deaf.").wait_for()
        flooder = subprocess.Popen([sys.executable, "-c", FLOOD, url], env=own_path())
        try:
            page.get_by_text(re.compile(r"\d\d,\d{3} only counted")).wait_for()
            # What somebody types and clicks comes through, and what is shown stays small.
            page.get_by_label("Text", exact=True).press_sequentially("typed meanwhile")
            assert page.get_by_label("Text", exact=True).input_value() == "typed meanwhile"
            page.get_by_role("button", name="Pause").click()
            page.get_by_text(re.compile("paused, .* waiting")).wait_for()
            rows = page.get_by_role("region", name="Last events").get_by_role("row").count()
            assert rows <= 61
        finally:
            flooder.kill()
            flooder.wait()
        made.check()


def test_a_node_that_is_killed_is_seen_red_and_green_when_it_is_back(
    cluster: list[Node], open_at: Open
) -> None:
    with open_at(cluster[0], "#/live") as made:
        page = made.page
        page.get_by_text("Nobody is deaf.").wait_for()
        row = page.get_by_role("region", name="Nodes").get_by_role("row").filter(has_text="mail-3")
        row.filter(has_text="● up").wait_for()
        made.moved()
        victim = cluster[2]
        victim.process.kill()
        row.filter(has_text="▲ silent").wait_for()
        green, red = (page.evaluate(COLOUR, name) for name in ("--good", "--bad"))
        state = row.locator("td").first
        assert state.evaluate("(node) => getComputedStyle(node).color") == red
        assert made.moved() == []
        made.check()
        made.check_rules()
        victim.process.start(lambda: accepts("127.0.0.1", victim.port))
        victim.process.keep()
        row.filter(has_text="● up").wait_for()
        assert row.count() == 1
        assert state.evaluate("(node) => getComputedStyle(node).color") == green
        page.get_by_text(re.compile("mail-3.* was restarted")).wait_for()
        page.get_by_text("Nobody is deaf.").wait_for()
        assert made.moved() == []
        made.check()


COLOUR = """(name) => {
  const probe = document.createElement("span");
  probe.className = name.slice(2);
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}"""


def test_a_node_that_is_gone_is_said_and_the_page_comes_back_with_it(tmp_path: Path, open_at: Open) -> None:
    node = Node(tmp_path, "coming", ["--url", "memory://"])
    try:
        with open_at(node, "#/live") as made:
            page = made.page
            page.get_by_text("No other node is here yet.").wait_for()
            made.moved()
            node.process.kill()
            page.get_by_role("alert").filter(has_text="The node does not answer").wait_for()
            assert made.moved() == []
            # The browser itself reports each connection that fails.
            assert [text for text in made.errors if "net::ERR" not in text] == []
            node.process.start(lambda: accepts("127.0.0.1", node.port))
            # Sessions are kept in memory only: sign in again.
            page.get_by_label("Access token").wait_for(timeout=15_000)
            page.get_by_text("Your session is over").wait_for()
    finally:
        node.process.stop()


# -- for everybody ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("width", "theme", "zoom"), [(1280, "dark", 1), (360, "light", 1), (360, "dark", 1), (1280, "light", 2)]
)
def test_small_windows_large_letters_and_dark_rooms(
    cluster: list[Node], open_at: Open, width: int, theme: str, zoom: int
) -> None:
    with open_at(cluster[0], width=width, theme=theme, zoom=zoom) as made:
        page = made.page
        settled(page)
        made.check()
        made.check_rules()
        page.get_by_role("link", name="Live").click()
        page.get_by_text("Nobody is deaf.").wait_for()
        made.moved()
        publish(cluster[1], "demo.a-topic-that-is-rather-long.and-goes-on", "text " * 100)
        page.get_by_role("region", name="Last events").get_by_text("text text").wait_for()
        assert made.moved() == []
        made.check()
        made.check_rules()


def test_everything_can_be_done_with_the_keyboard_alone(alone: Node, browser: Browser) -> None:
    with tab(browser) as made:
        page = made.page

        def tab_to(name: str) -> None:
            """Press Tab until what has the focus is called so, and can be seen."""
            for _ in range(60):
                page.keyboard.press("Tab")
                found = page.evaluate(
                    """() => {
                      const node = document.activeElement, box = node.getBoundingClientRect();
                      const [text] = node.labels || [];
                      const label = text ? text.textContent : node.getAttribute("aria-label");
                      const top = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
                      const isSeen = node.contains(top) || top.contains(node);
                      return [label || node.textContent, node.matches(":focus-visible") && isSeen];
                    }"""
                )
                if found[0] == name:
                    assert found[1], f"{name} has the focus and is hidden"
                    return
            raise AssertionError(f"the tab key does not lead to {name}")

        page.goto(alone.url)
        page.get_by_label("Access token").wait_for()
        page.keyboard.type(alone.token.read_text().strip())
        page.keyboard.press("Enter")
        settled(page)
        page.keyboard.press("Tab")
        tab_to("Backend type")
        page.keyboard.type("Disabled")
        page.get_by_text("1 unsaved change", exact=True).wait_for()
        tab_to("Save")
        page.keyboard.press("Enter")
        page.get_by_role("status").filter(has_text="Saved").wait_for()
        assert stored(alone)["@type"] == "Disabled"
        page.reload()
        settled(page)
        tab_to("Live")
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="Publish").wait_for()
        tab_to("Text")
        page.keyboard.type("by hand")
        tab_to("Publish")
        page.keyboard.press("Enter")
        page.get_by_role("status").filter(has_text="no other node is here to hear it").wait_for()
        made.check()


def test_who_may_only_read_is_told_so(alone: Node, browser: Browser) -> None:
    text = Tokens(alone.state).create("viewer", ["sysCoordinatorGet", "busEventsRead"])
    with tab(browser) as made:
        page = made.page
        page.goto(alone.url)

        def is_known() -> bool:
            page.get_by_label("Access token").fill(text)
            page.keyboard.press("Enter")
            page.wait_for_timeout(300)
            return page.get_by_role("button", name="Sign out").is_visible()

        until(is_known)
        page.get_by_text("Your token may read it, not change it.").wait_for()
        assert page.get_by_label("Backend type").is_disabled()
        assert page.get_by_role("button", name="Save").is_disabled()
        page.get_by_role("link", name="Live").click()
        page.get_by_text("Your token may not publish").wait_for()
        made.errors[:] = [text for text in made.errors if "401" not in text]
        made.check()
        made.check_rules()
