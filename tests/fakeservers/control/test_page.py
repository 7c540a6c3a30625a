"""The live page in a real browser. Set FAKESERVERS_SCREENSHOTS to a folder to have its pictures taken."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from fakeservers import (
    Control,
    ControlService,
    FakeApns,
    FakeFcm,
    FaultPlan,
    InThread,
    fated_registration,
    fated_token,
)
from tests.fakeservers.browser import browser as browser
from tests.fakeservers.browser import look, needs_browser, take_picture, text_of, until
from tests.fakeservers.client import Client, headers_for, provider_token
from tests.fakeservers.fcm_client import Watcher, send_body, send_headers

TRAIN = {
    "aps": {
        "alert": {
            "title": "IC 8 to Bern",
            "subtitle": "Platform 7",
            "body": "Leaves at 10:02, eight minutes late.",
        },
        "badge": 3,
        "sound": "default",
    },
    "image": "https://example.com/trains/ic8.jpg",
}
MARKUP = "<img src=x onerror=alert(1)><b>bold</b>"

pytestmark = needs_browser

# The contrast of every text with the ground that it stands on (WCAG 2.2, 1.4.3), where that is below 4.5.
FAINT = """
const bright = (color) => {
  const [r, g, b] = color.match(/[\\d.]+/g).map(Number).map((c) => c / 255)
    .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const ground = (node) => {
  for (; node; node = node.parentElement) {
    const color = getComputedStyle(node).backgroundColor;
    if (!/, 0\\)$|transparent/.test(color)) return color;
  }
  return "rgb(255, 255, 255)";
};
const faint = [];
for (const node of document.body.querySelectorAll("*")) {
  const text = [...node.childNodes].some((each) => each.nodeType === 3 && each.textContent.trim());
  if (!text || !node.checkVisibility() || node.closest("script, style, template")) continue;
  const pair = [bright(getComputedStyle(node).color), bright(ground(node))].sort((a, b) => b - a);
  const contrast = (pair[0] + 0.05) / (pair[1] + 0.05);
  if (contrast < 4.5) faint.push(`${node.className || node.tagName} ${contrast.toFixed(2)}`);
}
return faint;
"""


# Words that are broken in their middle or cut, outside raw JSON and addresses of images.
BROKEN = """
const broken = [];
const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (texts.nextNode()) {
  const node = texts.currentNode;
  const parent = node.parentElement;
  if (!parent.checkVisibility() || parent.closest("script, style, template, pre, option, thead, .skip-link, .image")) continue;
  for (const word of node.data.matchAll(/[^\\s\\/-]+/g)) {
    const range = document.createRange();
    range.setStart(node, word.index);
    range.setEnd(node, word.index + word[0].length);
    const lines = new Set([...range.getClientRects()].map((box) => Math.round(box.top)));
    const box = range.getBoundingClientRect();
    if (lines.size > 1) broken.push(`broken: ${word[0]}`);
    if (box.left < 0 || box.right > innerWidth + 0.5) broken.push(`cut: ${word[0]}`);
  }
}
return broken;
"""


@asynccontextmanager
async def everything(token: str = "") -> AsyncIterator[Any]:
    plan = FaultPlan.from_dict(
        {
            "faults": [
                {
                    "id": "late",
                    "name": "Slow answers",
                    "description": "Half of all answers take 20 to 80 ms longer.",
                    "when": {"share": 0.5},
                    "what": {"kind": "delay", "between": [0.02, 0.08]},
                },
                {
                    "id": "busy",
                    "name": "Too many requests",
                    "description": "Every tenth push to APNs is one too many.",
                    "when": {"provider": "apns", "every": 10},
                    "what": {"kind": "answer", "reason": "TooManyRequests"},
                },
                {
                    "id": "tonight",
                    "name": "Maintenance",
                    "description": "In an hour FCM answers 503 for ten minutes.",
                    "when": {"provider": "fcm", "after": 3600, "until": 4200},
                    "what": {"kind": "answer", "reason": "UNAVAILABLE"},
                },
            ]
        }
    )
    async with (
        FakeApns(faults=plan) as apns,
        FakeFcm(certs=apns.certs, faults=plan) as fcm,
        Control(ControlService(apns, fcm), token=token) as control,
    ):
        yield SimpleNamespace(apns=apns, fcm=fcm, control=control, plan=plan)


@pytest.fixture
def running() -> Iterator[InThread[Any]]:
    with InThread(everything) as running:
        yield running


def open_page(browser: Chrome, running: InThread[Any]) -> None:
    browser.get("about:blank")  # the page of the test before looks for its server, which has gone
    browser.get_log("browser")  # type: ignore[no-untyped-call]  # selenium has no types
    browser.get(running.fake.control.url)
    until(browser, lambda: text_of(browser, "#connection-status") == "live")


async def push(fakes: Any, number: int = 1, payload: Any = TRAIN, fates: tuple[str, ...] = ("",)) -> None:
    async with await Client.connect(fakes.apns) as client:
        token = provider_token(fakes.apns)
        for index in range(number):
            fate = fates[index % len(fates)]
            device = fated_token(fate, index) if fate else f"{index + 1:x}".rjust(4, "c") * 16
            await client.push(headers_for(fakes.apns, token, device), json.dumps(payload).encode())


async def send(fakes: Any, number: int, fates: tuple[str, ...] = ("",)) -> None:
    async with await Watcher.connect(fakes.fcm) as client:
        authorization = f"Bearer {fakes.fcm.oauth.issue()}"
        for index in range(number):
            fate = fates[index % len(fates)]
            target = {"token": fated_registration(fate, index)} if fate else {}
            notification = {
                "title": "Ada",
                "body": "Shall we meet at noon?",
                "image": "https://example.com/ada.png",
            }
            await client.push(
                send_headers(fakes.fcm, authorization=authorization),
                send_body(notification=notification, **target),
            )


def no_complaints(browser: Chrome) -> None:
    """What a policy, a script or a missing file would leave in the console."""
    assert browser.get_log("browser") == []  # type: ignore[no-untyped-call]  # selenium has no types


def test_a_push_is_drawn_as_a_phone_shows_it(browser: Chrome, running: InThread[Any]) -> None:
    look(browser)
    open_page(browser, running)
    assert text_of(browser, "#no-notifications") == "No notification has arrived yet."
    asyncio.run(push(running.fake))
    until(browser, lambda: text_of(browser, "#notifications .title") == "IC 8 to Bern")
    assert text_of(browser, "#notifications .subtitle") == "Platform 7"
    assert text_of(browser, "#notifications .body") == "Leaves at 10:02, eight minutes late."
    assert text_of(browser, "#notifications .badge") == "3"
    assert text_of(browser, "#notifications .image") == "https://example.com/trains/ic8.jpg"
    assert text_of(browser, "#notifications .outcome") == "200"
    browser.find_element(By.CSS_SELECTOR, "#notifications summary").click()
    raw = browser.find_element(By.CSS_SELECTOR, "#notifications pre")
    assert json.loads(raw.text) == TRAIN
    until(browser, lambda: text_of(browser, ".requests") == "1|0")
    assert raw.is_displayed()  # the next second's event has not folded it
    loaded = browser.execute_script(
        "return performance.getEntriesByType('resource').map((each) => each.name)"
    )
    assert {url.removeprefix(running.fake.control.url) for url in loaded} <= {"/v1/events"}
    no_complaints(browser)


def test_numbers_answers_and_percentiles(browser: Chrome, running: InThread[Any]) -> None:
    look(browser)
    running.call(running.fake.plan.clear)
    open_page(browser, running)
    asyncio.run(push(running.fake, 20, fates=("", "", "", "Unregistered")))
    asyncio.run(send(running.fake, 4, fates=("", "QuotaExceeded")))
    until(browser, lambda: text_of(browser, ".requests") == "20|4")
    rows = text_of(browser, "#responses td:not(:last-child)").split("|")
    values = {tuple(rows[at : at + 4]) for at in range(0, len(rows), 4)}
    assert values == {
        ("APNs", "200", "accepted", "15"),
        ("APNs", "410", "Unregistered", "5"),
        ("FCM", "200", "accepted", "2"),
        ("FCM", "429", "QUOTA_EXCEEDED", "2"),
    }
    assert text_of(browser, ".service:first-child .p50").endswith(("µs", "ms"))
    browser.find_element(By.ID, "zero").click()
    until(browser, lambda: text_of(browser, ".requests") == "0|0")
    browser.find_element(By.ID, "clear").click()
    until(browser, lambda: text_of(browser, "#notifications li") == "")
    assert running.call(lambda: len(running.fake.apns.received)) == 0
    no_complaints(browser)


def test_faults_are_switched_by_keyboard(browser: Chrome, running: InThread[Any]) -> None:
    look(browser)
    open_page(browser, running)
    until(browser, lambda: text_of(browser, ".fault-name") == "Slow answers|Too many requests|Maintenance")
    assert text_of(browser, ".in-force") == "active|active|waiting"
    browser.find_element(By.TAG_NAME, "body").click()
    for _ in range(30):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        if browser.switch_to.active_element.get_attribute("aria-label") == "Fault Too many requests":
            break
    knob = browser.switch_to.active_element
    assert knob.get_attribute("aria-label") == "Fault Too many requests"
    assert knob.get_attribute("aria-checked") == "true"
    outline = knob.value_of_css_property("outline-style")
    assert outline == "solid"
    knob.send_keys(Keys.SPACE)
    until(browser, lambda: knob.get_attribute("aria-checked") == "false")
    assert not running.call(lambda: running.fake.plan["busy"].enabled)
    assert text_of(browser, ".in-force") == "active|off|waiting"
    knob.send_keys(Keys.ENTER)
    until(browser, lambda: running.call(lambda: running.fake.plan["busy"].enabled))
    until(browser, lambda: text_of(browser, "#preset").count("calm") == 1)
    browser.find_element(By.CSS_SELECTOR, "#preset option[value='calm']").click()
    browser.find_element(By.CSS_SELECTOR, "#preset-form button").click()
    until(browser, lambda: running.call(lambda: "busy" not in running.fake.plan))
    no_complaints(browser)


def test_the_plan_in_force_is_named_and_begun_anew(browser: Chrome, running: InThread[Any]) -> None:
    look(browser)
    running.call(lambda: running.fake.plan.become(FaultPlan.preset("goaway-storm", seed=7)))
    open_page(browser, running)
    for _ in range(2):  # before and after a reload
        until(browser, lambda: text_of(browser, "#plan-name") == "goaway-storm")
        assert text_of(browser, "#plan-seed") == "seed 7"
        chosen = "return document.getElementById('preset').value"
        assert browser.execute_script(chosen) == "goaway-storm"
        browser.refresh()
    until(browser, lambda: text_of(browser, "#connection-status") == "live")

    before = running.call(lambda: (running.fake.plan.epoch, running.fake.plan.to_dict()))
    running.call(lambda: running.fake.plan.hits.update(refused=3))
    until(browser, lambda: "3 hits" in text_of(browser, ".hits"))
    browser.find_element(By.ID, "restart-plan").click()
    until(browser, lambda: "3 hits" not in text_of(browser, ".hits"))
    after = running.call(lambda: (running.fake.plan.epoch, running.fake.plan.to_dict()))
    assert (after[0] > before[0], after[1]) == (True, before[1])
    assert text_of(browser, "#error") == ""

    browser.find_element(By.CSS_SELECTOR, "#preset option[value='brownout']").click()
    browser.find_element(By.CSS_SELECTOR, "#preset-form button").click()
    until(browser, lambda: text_of(browser, "#plan-name") == "brownout")
    running.call(running.fake.plan.clear)
    until(browser, lambda: not browser.find_element(By.ID, "restart-plan").is_enabled())
    running.call(lambda: running.fake.plan.become(FaultPlan(3)))
    until(browser, lambda: text_of(browser, "#plan-name") == "none")
    no_complaints(browser)


def test_totals_are_exact_and_curves_have_a_scale(browser: Chrome, running: InThread[Any]) -> None:
    look(browser)

    def count() -> None:
        counters, pushes = running.fake.apns.server.counters, running.fake.apns.pushes
        counters.requests, counters.goaway_unprocessed = 1_234_567, 7
        pushes.leave(1_000_000, told=True)
        pushes.accept(2_345_678)
        running.fake.apns.counts[410, "Unregistered"] = 1_234_001
        running.fake.plan.hits["busy"] = 12_345

    open_page(browser, running)
    until(browser, lambda: text_of(browser, ".requests") == "0|0")
    running.call(count)
    until(browser, lambda: text_of(browser, ".requests") == "1,234,567|0")
    assert text_of(browser, "#responses .count") == "1,234,001"
    assert "12,345 hits" in text_of(browser, ".hits")
    counters = {
        name: text_of(browser, f".service:first-child [data-key='{name}'] dd")
        for name in ("received", "accepted", "rejected", "unprocessed", "cut", "goaway_unprocessed")
    }
    assert list(counters.values()) == ["3,345,678", "2,345,678", "0", "1,000,000", "0", "7"]
    until(browser, lambda: not text_of(browser, ".service:first-child .peak").startswith("peak 0/s|"))
    peak, _ = text_of(browser, ".service:first-child .peak").split("|")
    top = "return [...document.querySelectorAll('.service:first-child .chart svg')].map((each) => each.getAttribute('aria-label'))"
    assert int(peak.removeprefix("peak ").removesuffix("/s").replace(",", "")) > 1000
    assert peak.removeprefix("peak ") in browser.execute_script(top)[0]
    assert text_of(browser, ".service:first-child .start") == "29 s ago|29 s ago"
    no_complaints(browser)


@pytest.mark.parametrize("width", [360, 320])
def test_on_a_telephone_nothing_vanishes_and_no_word_is_broken(
    width: int, browser: Chrome, running: InThread[Any]
) -> None:
    look(browser)
    open_page(browser, running)
    asyncio.run(
        push(running.fake, 12, fates=("", "TooManyProviderTokenUpdates", "BadCertificateEnvironment"))
    )
    asyncio.run(send(running.fake, 3, fates=("", "ApnsAuth", "SenderIdMismatch")))
    until(browser, lambda: text_of(browser, ".requests") == "12|3")
    browser.find_element(By.ID, "pause").click()
    seen = "return [...document.body.querySelectorAll('*')].map((each) => each.tagName + (each.offsetWidth > 0 || each.offsetHeight > 0))"
    wide = browser.execute_script(seen)
    look(browser, "light", width)
    assert browser.execute_script(seen) == wide
    assert browser.execute_script(BROKEN) == []
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    no_complaints(browser)


def test_text_of_a_caller_is_text(browser: Chrome, running: InThread[Any]) -> None:
    look(browser)
    open_page(browser, running)
    alert = {"title": MARKUP, "subtitle": MARKUP, "body": MARKUP}
    asyncio.run(
        push(running.fake, payload={"aps": {"alert": alert, "badge": MARKUP}, "image": "javascript:alert(1)"})
    )
    until(browser, lambda: text_of(browser, "#notifications .title") == MARKUP)
    for place in ("subtitle", "body", "badge"):
        assert text_of(browser, f"#notifications .{place}") == MARKUP
    assert (
        browser.execute_script(
            "return document.querySelectorAll('img, b:not([class]), a[href^=java]').length"
        )
        == 0
    )
    no_complaints(browser)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_in_light_in_dark_and_on_a_narrow_screen(
    scheme: str, browser: Chrome, running: InThread[Any]
) -> None:
    look(browser, scheme)
    open_page(browser, running)
    asyncio.run(push(running.fake, 12, fates=("", "Unregistered", "BadTopic", "Shutdown")))
    asyncio.run(push(running.fake, payload={"aps": {"content-available": 1}, "word": "w" * 2000}))
    asyncio.run(send(running.fake, 3, fates=("", "Internal")))
    until(browser, lambda: text_of(browser, ".requests") == "13|3")
    ground = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(243, 244, 247)", "dark": "rgb(19, 21, 27)"}[scheme]
    assert browser.execute_script(FAINT) == []
    for width in (1280, 768, 320):
        look(browser, scheme, width)
        wide = browser.execute_script("return document.documentElement.scrollWidth")
        assert wide <= width
    no_complaints(browser)


def test_pausing_and_losing_the_server(browser: Chrome) -> None:
    look(browser)
    with InThread(everything) as running:
        open_page(browser, running)
        browser.find_element(By.ID, "pause").click()
        asyncio.run(push(running.fake))
        seen = "return (await (await fetch('/v1/state')).json()).services.apns.requests"
        until(browser, lambda: browser.execute_script(f"return (async () => {{ {seen} }})()") == 1)
        assert text_of(browser, "#notifications li") == ""
        browser.find_element(By.ID, "pause").click()
        until(browser, lambda: text_of(browser, "#notifications .title") == "IC 8 to Bern")
    until(browser, lambda: text_of(browser, "#connection-status") == "not connected")
    browser.get("about:blank")
    browser.get_log("browser")  # type: ignore[no-untyped-call]  # selenium has no types


def test_the_login_form(browser: Chrome) -> None:
    look(browser)
    with InThread(lambda: everything("a-token-of-some-length")) as running:
        browser.get(running.fake.control.url)
        browser.find_element(By.ID, "token").send_keys("wrong", Keys.ENTER)
        until(browser, lambda: "That is not the token." in browser.page_source)
        browser.find_element(By.ID, "token").send_keys("a-token-of-some-length", Keys.ENTER)
        until(browser, lambda: text_of(browser, "#connection-status") == "live")
        browser.delete_all_cookies()
    browser.get("about:blank")
    browser.get_log("browser")  # type: ignore[no-untyped-call]  # selenium has no types


@pytest.mark.skipif("FAKESERVERS_SCREENSHOTS" not in os.environ, reason="FAKESERVERS_SCREENSHOTS is not set")
def test_pictures_for_the_guide(browser: Chrome, running: InThread[Any]) -> None:
    place = Path(os.environ["FAKESERVERS_SCREENSHOTS"])
    look(browser, "light", 1280, 960)
    open_page(browser, running)

    async def traffic() -> None:
        fates = (*[""] * 30, "Unregistered", *[""] * 10, "BadDeviceToken")
        for number in range(14):
            await asyncio.gather(
                *(push(running.fake, 30 + 4 * (number % 5), fates=fates) for _ in range(4)),
                send(
                    running.fake, 25 + 3 * (number % 4), fates=(*[""] * 20, "QuotaExceeded", "Unregistered")
                ),
            )
        await push(running.fake, 1)
        await push(running.fake, 1, payload={"aps": {"content-available": 1}, "sync": 4711})
        await send(running.fake, 1)

    asyncio.run(traffic())
    until(browser, lambda: text_of(browser, "#notifications li:first-child .title") == "Ada")
    for scheme in ("light", "dark"):
        look(browser, scheme, 1280, 1150)
        take_picture(browser, place / f"fakeservers-{scheme}.png")
