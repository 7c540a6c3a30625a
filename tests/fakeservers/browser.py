"""A real browser, headless, that looks at the live page: what the tests of the page and of the guides share."""

from __future__ import annotations

import base64
import io
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
DEADLINE = 15.0
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --hide-scrollbars --lang=en"
)

needs_browser = pytest.mark.needs("chromium", "chromedriver")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    options = ChromeOptions()
    options.binary_location = str(BROWSER)
    for flag in (*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('browser')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options=options, service=Service(str(DRIVER)))
    try:
        yield driver
    finally:
        driver.quit()


def look(browser: Chrome, scheme: str = "light", width: int = 1280, height: int = 900) -> None:
    """Have the browser prefer a scheme and be of a size, in CSS pixels."""
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def until(browser: Chrome, holds: Callable[[], Any]) -> None:
    WebDriverWait(browser, DEADLINE, poll_frequency=0.05).until(lambda _: holds())


def text_of(browser: Chrome, selector: str) -> str:
    """Their texts, read in one go: elements may go while one looks at them."""
    script = (
        "return [...document.querySelectorAll(arguments[0])].map((each) => each.textContent.trim()).join('|')"
    )
    return str(browser.execute_script(script, selector))


def take_picture(browser: Chrome, file: Path) -> None:
    """What is to be seen now, as PNG of 256 colours, which is a third of the size."""
    data = browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})["data"]
    Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB").quantize(256).save(file, optimize=True)
