"""The files of the page: what may be had, under which rules, and that they are written by these rules."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

import pytest

from bus.admin.page import Assets
from tests.admin.kit import TOKEN, Client, World

STATIC = resources.files("bus.admin.page") / "static"
SOURCES = {file.name: file.read_text() for file in STATIC.iterdir()}


@pytest.fixture
def way() -> str:
    return "inside"


async def test_the_page_is_for_everybody_and_says_nothing(here: World) -> None:
    here.client.token = None
    reply = await here.client.ask("GET", "/")
    assert reply.status == 200
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    assert reply.headers["cache-control"] == "no-cache"
    for secret in (TOKEN, here.node.name, here.admin.url):
        assert secret.encode() not in reply.body


async def test_everything_that_the_page_names_is_there_and_never_expires(here: World) -> None:
    index = (await here.client.ask("GET", "/")).body.decode()
    named = re.findall(r'(?:href|src)="(/[^"]+)"', index)
    assert len(named) >= 5
    folder = next(path for path in named if path.endswith("app.js")).rpartition("/")[0]
    named += [
        f"{folder}/{name}" for text in SOURCES.values() for name in re.findall(r'from "\./([^"]+)"', text)
    ]
    for path in set(named):
        reply = await here.client.ask("GET", path)
        assert reply.status == 200, path
        if path != "/favicon.ico":
            assert reply.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert reply.headers["content-type"].split(";")[0] in ("text/css", "text/javascript", "image/svg+xml")
        head = await here.client.ask("HEAD", path)
        assert (head.status, head.headers["content-length"]) == (200, str(len(reply.body)))


async def test_the_rules_that_a_browser_is_given(here: World) -> None:
    headers = (await here.client.ask("GET", "/")).headers
    policy = dict(rule.split(" ", 1) for rule in headers["content-security-policy"].split("; "))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "connect-src": "'self'",
        "img-src": "'self' data:",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
    }
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "geolocation=()" in headers["permissions-policy"]


@pytest.mark.parametrize(
    "path",
    [
        "/static/", "/static/app.js", "/static/0000000000000000/app.js", "/static/../tokens.toml",
        "/static/%2e%2e/%2e%2e/tokens.toml", "/static/{version}/../app.js",
        "/static/{version}/%2e%2e/site.py", "/static/{version}/index.html", "/static/{version}//etc/passwd",
        "/static/{version}/app.js%00.css", "/static/{version}/APP.JS", "/static/{version}/..\\app.js",
        "/index.html", "//static/{version}/app.js",
    ],
)  # fmt: skip
async def test_no_other_file_can_be_had(client: Client, path: str) -> None:
    version = re.search(r"/static/(\w{16})/app.js", (await client.ask("GET", "/")).body.decode())
    assert version is not None
    reply = await client.ask("GET", path.replace("{version}", version[1]))
    assert reply.status == 404
    assert reply.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/"), ("PUT", "/session"), ("GET", "/publish"), ("POST", "/events")]
)
async def test_other_verbs_are_refused(client: Client, method: str, path: str) -> None:
    assert (await client.ask(method, path)).status == 405


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_nothing_that_somebody_wrote_can_become_markup_style_or_script(name: str) -> None:
    text = SOURCES[name]
    for trap in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "new Function",
        "DOMParser",
        ".style",
        "srcdoc",
        "javascript:",
    ):
        assert trap not in text, f"{name} uses {trap}"
    if name.endswith(".html"):
        assert re.findall(r"<script(?![^>]* src=)|<style| style=| on\w+=", text) == []
    # No stranger is asked for anything, and no token is kept where scripts can read it.
    assert [url for url in re.findall(r"https?://[^\s\"'`)]+", text) if "www.w3.org" not in url] == []
    assert re.findall(r"localStorage|sessionStorage|document\.cookie", text) == []


def test_a_file_that_changes_changes_the_name_of_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, text in SOURCES.items():
        (tmp_path / "static").mkdir(exist_ok=True)
        (tmp_path / "static" / name).write_text(text)
    before = Assets()

    def here(package: str) -> Path:
        return tmp_path

    monkeypatch.setattr("bus.admin.page.assets.resources.files", here)
    assert Assets().by_path.keys() == before.by_path.keys()
    (tmp_path / "static" / "app.css").write_text("")
    assert not Assets().by_path.keys() & before.by_path.keys()


def test_every_file_has_one_job_and_says_it() -> None:
    for name, text in SOURCES.items():
        if name.endswith(".js"):
            assert text.startswith("// "), name
            assert len(text.splitlines()) <= 400, name


@pytest.mark.parametrize("view", ["settings", "live"])
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_the_documentation_has_pictures_of_both_views(view: str, theme: str, width: int) -> None:
    root = Path(__file__).parents[2]
    picture = (root / "docs" / "images" / f"{view}-{theme}-{width}.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert int.from_bytes(picture[16:20], "big") == width
    assert len(picture) < 150_000
    assert f"images/{view}-{theme}-{width}.png" in (root / "docs" / "page.md").read_text()
