"""Credentials that google-auth reads, as files on the command line: authorized_user, and external_account."""

from __future__ import annotations

import asyncio
import json
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import google.oauth2.credentials
import pytest

from fakeservers import Certificates, FakeFcm
from pushcore import ServiceAccount
from pushcore.cli.main import main
from pushcore.http2.tls import client_context

SUBJECT = "subject-token-of-the-workload"
SECRET = "GOCSPX-0123456789abcdefghij"
REFRESH = "1//0gABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


@contextmanager
def token_endpoint(certs: Certificates, fake: FakeFcm) -> Iterator[tuple[str, list[dict[str, list[str]]]]]:
    """A token endpoint that takes a refresh token or exchanges a subject token (RFC 8693), and gives a token of the fake's.

    Yields:
        Its URL, and the forms that were posted.
    """
    forms: list[dict[str, list[str]]] = []
    account = ServiceAccount.from_file(fake.service_account_file)
    context = client_context(ca_file=certs.ca_file, alpn="http/1.1")

    class TokenHandler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
            forms.append(form)
            request = urllib.request.Request(account.token_uri, account.form(time.time()))
            with urllib.request.urlopen(request, context=context) as response:
                token = json.load(response)
            token["issued_token_type"] = "urn:ietf:params:oauth:token-type:access_token"
            body = json.dumps(token).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None:
            """Not on the standard error."""

    with ThreadingHTTPServer(("127.0.0.1", 0), TokenHandler) as server:
        server.socket = certs.server_context().wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"https://127.0.0.1:{server.server_port}/token", forms
        finally:
            server.shutdown()
            thread.join()


def credentials(kind: str, url: str, directory: Path) -> dict[str, Any]:
    """The content of a credentials file of this type."""
    if kind == "authorized_user":
        client = "1-a.apps.googleusercontent.com"
        return {"type": kind, "client_id": client, "client_secret": SECRET, "refresh_token": REFRESH}
    (directory / "subject-token").write_text(SUBJECT)
    return {
        "type": kind,
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/x",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": url,
        "credential_source": {"file": str(directory / "subject-token")},
    }


@pytest.mark.parametrize("given", ["file", "variable"])
@pytest.mark.parametrize("kind", ["authorized_user", "external_account"])
async def test_check_with_credentials_of_google_auth(
    kind: str,
    given: str,
    certs: Certificates,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with FakeFcm(certs=certs) as fake:
        with token_endpoint(certs, fake) as (url, forms):
            monkeypatch.setattr(google.oauth2.credentials, "_GOOGLE_OAUTH2_TOKEN_ENDPOINT", url)
            content = json.dumps(credentials(kind, url, tmp_path))
            words = ["check", f"--fcm-project={fake.project_id}", f"--fcm-url={fake.url}"]
            words.append(f"--ca-file={fake.ca_file}")
            if given == "file":
                (tmp_path / "credentials.json").write_text(content)
                words.append(f"--fcm-service-account={tmp_path / 'credentials.json'}")
            else:
                monkeypatch.setenv("PUSHCORE_FCM_SERVICE_ACCOUNT", content)
            status = await asyncio.to_thread(main, words)
        captured = capsys.readouterr()
        assert (status, captured.err) == (0, "")
        assert captured.out.startswith("FCM   ok ")
        (form,) = forms
        if kind == "authorized_user":
            assert form["refresh_token"] == [REFRESH]
        else:
            assert form["subject_token"] == [SUBJECT]
            assert form["scope"] == ["https://www.googleapis.com/auth/firebase.messaging"]
        assert any(request.path.endswith("messages:send") for request in fake.received)
