"""The documentation's site: it builds without a warning, and a browser that opens its pages asks no other host."""

from __future__ import annotations

import inspect
import json
import os
import re
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from selenium.webdriver import Chrome

import pushcore
from docsite.__main__ import LOADED, build, navigation
from docsite.pages import generated
from docsite.reference import api_pages
from fakeservers.apns.fates import CODES
from pushcore.apns.reasons import CHANNEL_REASONS as CHANNELS
from pushcore.apns.reasons import REASONS as APNS
from pushcore.cli.main import cli
from pushcore.fcm.errors import REASONS as FCM
from pushcore.reasons import words
from tests.fakeservers.browser import browser as browser
from tests.fakeservers.browser import look, needs_browser, take_picture, until

OPENED = (
    "index",
    "start/first-push",
    "guides/embedding",
    "reference/clients",
    "reference/commands",
    "troubleshooting/apns",
)

EVERYWHERE = """[document, ...[...document.querySelectorAll('*')].flatMap((each) => each.shadowRoot ?? [])]
  .flatMap((root) => [...root.querySelectorAll('{}')])
  .filter((each) => each.tagName == 'A' || each.offsetParent)""".format
"""JavaScript: links, or inputs that are to be seen, those of web components too."""


pytestmark = pytest.mark.xdist_group("docsite")  # the site is built once


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return generated()


def test_every_reason_and_fate_has_its_place(pages: dict[str, str]) -> None:
    everywhere = set()
    for page in ("apns", "fcm", "channels", "instance-id", "legacy"):
        headings = re.findall(r"^## (.+)$", pages[f"troubleshooting/{page}"], re.MULTILINE)
        assert len(headings) == len(set(headings)), page
        everywhere.update(headings)
    assert words() - everywhere == set()
    for page, reasons in (("apns", APNS), ("fcm", FCM), ("channels", CHANNELS)):
        assert all(row.advice in pages[f"troubleshooting/{page}"] for row in reasons.values())
    assert all(f"| `{fate}` |" in pages["reference/fates"] for fate in CODES.values())


def test_every_public_name_is_in_the_reference_once_and_no_private_one() -> None:
    entries = [
        entry
        for page in api_pages().values()
        for entry in re.findall(r"^::: pushcore\.(\w+)$", page, re.MULTILINE)
    ]
    public = {name for name in pushcore.__all__ if not name.startswith("__")}
    assert sorted(entries) == sorted(public | {"telemetry"})


def test_every_command_and_error_is_there(pages: dict[str, str]) -> None:
    assert all(f"\n## pushcore {name}" in pages["reference/commands"] for name in cli.commands)
    errors = pages["troubleshooting/errors"]
    assert "- `--key-id and --team-id belong to --apns-key` (`pushcore/cli/run/client_options.py`)" in errors
    assert "GET /v1/counters" in pages["reference/control-port"]
    assert "POST /v1/push/batch" in pages["reference/gateway"]


def test_a_page_outside_of_the_sections_is_an_error(tmp_path: Path) -> None:
    for page in ("index", "guides/b", "guides/a"):
        (tmp_path / page).parent.mkdir(exist_ok=True)
        (tmp_path / f"{page}.md").write_text("# x\n")
    assert navigation({"Guides": ["guides/b", "guides/later"]}, tmp_path) == [
        {"Home": ["index.md"]},
        {"Guides": ["guides/b.md", "guides/a.md"]},
    ]
    (tmp_path / "lost.md").write_text("# x\n")
    with pytest.raises(ValueError, match="lost"):
        navigation({"Guides": []}, tmp_path)


@pytest.mark.parametrize(
    "markup",
    [
        '<script src="https://cdn.example/x.js">',
        '<link href="//fonts.example/x.css" rel="stylesheet">',
        "<img alt=x src=https://example/x.png>",
        '@import "https://example/x.css"',
    ],
)
def test_resources_of_other_hosts_are_found(markup: str) -> None:
    assert LOADED.search(markup)
    assert not LOADED.search('<a href="https://example/x.css"><link rel="canonical" href="https://example">')


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("docs") / "site"
    assert build(target) == []
    return target


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """The site on a server of this host, as readers have it: search needs one."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def asked(browser: Chrome) -> set[str]:
    """The hosts that the browser has sent a request to, or tried to, since the last time."""
    events = (json.loads(entry["message"])["message"] for entry in browser.get_log("performance"))  # type: ignore[no-untyped-call]
    urls = (
        each["params"]["request"]["url"] for each in events if each["method"] == "Network.requestWillBeSent"
    )
    return {url.netloc for url in map(urlsplit, urls) if url.scheme not in ("chrome", "data", "blob")}


@pytest.mark.ci
def test_the_site_is_whole(site: Path) -> None:
    assert (site / "index.html").exists()
    assert len(list(site.rglob("*.html"))) > 25


def members(cls: type) -> set[str]:
    """The public names of a class: its own, or those of a base in pushcore."""
    return {name for name in {*vars(cls), *vars(cls).get("__annotations__", ())} if not name.startswith("_")}


def test_every_member_of_a_public_class_is_in_the_reference_and_no_private_one(site: Path) -> None:
    pages = [page.read_text() for page in (site / "reference").glob("*.html")]
    anchors = {anchor for page in pages for anchor in re.findall(r'id="(pushcore\.[\w.]+)"', page)}
    assert [anchor for anchor in anchors if re.search(r"\._[a-z]", anchor)] == []
    public = {value: name for name in pushcore.__all__ if isinstance(value := getattr(pushcore, name), type)}
    missing = []
    for cls, public_name in public.items():
        bases = [base for base in cls.__mro__ if base.__module__.startswith("pushcore.")]
        text = " ".join(f"{base.__doc__} {vars(base).get('__init__', base).__doc__}" for base in bases)
        shown = {*parameters(cls), *re.findall(r"\w+", text)}
        for name in set().union(*map(members, bases)) - shown:
            if not any(f"pushcore.{public.get(base, public_name)}.{name}" in anchors for base in bases):
                missing.append(f"{public_name}.{name}")
    assert missing == []
    assert {"pushcore.Broker.lease", "pushcore.CampaignState.RUNNING", "pushcore.Result.ok"} <= anchors


def parameters(cls: type) -> set[str]:
    """What stands in the signature of a class: the fields of a dataclass, for example."""
    try:
        return set(inspect.signature(cls).parameters)
    except ValueError:  # an enumeration
        return set()


@needs_browser
def test_no_page_asks_another_host(address: str, browser: Chrome) -> None:
    for page in OPENED:
        for scheme, width in (("light", 1280), ("dark", 1280), ("light", 360)):
            look(browser, scheme, width)
            browser.get(f"{address}/{page}.html")
            until(browser, lambda: browser.execute_script("return document.readyState") == "complete")
            wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
            assert browser.execute_script(wide) <= 0, page
            if "DOCSITE_SCREENSHOTS" in os.environ:
                name = f"{page.replace('/', '-')}-{scheme}-{width}.png"
                take_picture(browser, Path(os.environ["DOCSITE_SCREENSHOTS"]) / name)
    assert asked(browser) == {address.removeprefix("http://")}


@needs_browser
@pytest.mark.parametrize(
    ("words", "place"),
    [
        ("TooManyProviderTokenUpdates", r"apns\.html\?h=\S+#toomanyprovidertokenupdates"),
        ("the chunk is given back", r"messages\.html\?h=\S+#log-lines"),
    ],
    ids=["reason", "message"],
)
def test_search_finds_what_is_printed(words: str, place: str, address: str, browser: Chrome) -> None:
    look(browser)
    browser.get(f"{address}/index.html")
    until(browser, lambda: browser.execute_script("return document.readyState") == "complete")
    browser.execute_script("document.querySelector('.md-search__button').click()")
    field, links = (
        f"return {EVERYWHERE('input:not([type=checkbox],[type=radio])')}[0]",
        f"return {EVERYWHERE('a')}.map((link) => link.href).join(' ')",
    )
    until(browser, lambda: browser.execute_script(field))
    browser.execute_script(field).send_keys(words)
    until(browser, lambda: re.search(place, browser.execute_script(links).lower()))
    assert asked(browser) == {address.removeprefix("http://")}
