"""Object storage on loopback: S3 by moto, and nginx, which supports ranges."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.request import Request, urlopen

from tests.support.redis import free_port, wait_for

NO_S3 = (
    None
    if all(map(importlib.util.find_spec, ("moto", "flask", "s3fs")))
    else "moto, flask or s3fs is missing"
)
NGINX = shutil.which("nginx")
NO_NGINX = "nginx is missing: apt install nginx-light"


class S3:
    """An S3 with one bucket, "audiences". `variables`: with which a driver finds it, keys included."""

    def __init__(self) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.variables = {
            "AWS_ENDPOINT_URL_S3": self.url,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "s3cret-word",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for(self._process, self._answers)
        self._request("PUT", "audiences")

    def _answers(self) -> bool:
        with urlopen(f"{self.url}/moto-api/data.json", timeout=5) as response:
            return bool(response.status == 200)

    def put(self, name: str, data: bytes) -> str:
        """Store an object with these bytes; its URL."""
        self._request("PUT", f"audiences/{name}", data)
        return f"s3://audiences/{name}"

    def delete(self, name: str) -> None:
        """Delete an object."""
        self._request("DELETE", f"audiences/{name}")

    def _request(self, method: str, path: str, data: bytes = b"") -> None:
        request = Request(f"{self.url}/{path}", data=data, method=method)
        request.add_header("Content-Type", "application/octet-stream")
        request.add_header(
            "Authorization", "AWS4-HMAC-SHA256 Credential=key/20250101/us-east-1/s3/aws4_request"
        )
        urlopen(request, timeout=10).close()

    def stop(self) -> None:
        """It is gone when this returns."""
        self._process.kill()
        self._process.wait()


_CONF = """
daemon off;
master_process off;
pid {place}/nginx.pid;
error_log {place}/error.log;
events {{ worker_connections 64; }}
http {{
    log_format ranges '$request_method $status $body_bytes_sent $uri';
    access_log {place}/access.log ranges;
    client_body_temp_path {place}/body;
    proxy_temp_path {place}/proxy;
    fastcgi_temp_path {place}/fastcgi;
    uwsgi_temp_path {place}/uwsgi;
    scgi_temp_path {place}/scgi;
    server {{
        listen 127.0.0.1:{port};
        root {place}/files;
        max_ranges {ranges};
    }}
}}
"""


class Nginx:
    """An nginx that serves the files in `files`, by ranges or only as a whole, and tells what was asked of it."""

    def __init__(self, place: Path, *, ranges: bool = True) -> None:
        assert NGINX is not None, NO_NGINX
        port = free_port()
        self.files = place / "files"
        self.files.mkdir()
        self.log = place / "access.log"
        self.url = f"http://127.0.0.1:{port}"
        conf = place / "nginx.conf"
        conf.write_text(_CONF.format(place=place, port=port, ranges=int(ranges)))
        error_log = str(place / "error.log")
        self._process = subprocess.Popen([NGINX, "-p", str(place), "-e", error_log, "-c", str(conf)])
        (self.files / "ready").touch()
        wait_for(self._process, self._answers)

    def _answers(self) -> bool:
        with urlopen(f"{self.url}/ready", timeout=5) as response:
            return bool(response.status == 200)

    def asked(self) -> list[tuple[str, int, int]]:
        """Method, status and bytes of each answer so far, but for whether it is there."""
        lines = [line.split() for line in self.log.read_text().splitlines()]
        return [(method, int(status), int(size)) for method, status, size, uri in lines if uri != "/ready"]

    def stop(self) -> None:
        """It is gone when this returns."""
        self._process.terminate()
        self._process.wait()
