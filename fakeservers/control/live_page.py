"""The live page and its login form, assembled from `page/`: each is one document that fetches only its data."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

_FOLDER = Path(__file__).parent / "page"


@dataclass(frozen=True, slots=True)
class Page:
    """A document and its security headers."""

    content: bytes
    headers: dict[str, str]


def login_page(*, failed: bool) -> Page:
    """The form that asks for the token."""
    message = "That is not the token." if failed else "This control port can be reached from other machines."
    return _page((_FOLDER / "login.html").read_text().replace("{{message}}", message), "")


def _page(html: str, script: str) -> Page:
    """Style and script are inline, and the policy permits exactly these texts."""
    style = (_FOLDER / "page.css").read_text()
    content = html.replace("{{style}}", style).replace("{{script}}", script)
    policy = (
        "default-src 'none'",
        f"style-src {_hash(style)}",
        f"script-src {_hash(script)}" if script else "script-src 'none'",
        "connect-src 'self'",
        "img-src data:",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    )
    headers = {
        "content-security-policy": "; ".join(policy),
        "referrer-policy": "same-origin",  # without a policy a browser sends our own form with origin `null`
    }
    return Page(content.encode(), headers)


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


PAGE = _page((_FOLDER / "page.html").read_text(), (_FOLDER / "page.js").read_text())
"""The live page."""
