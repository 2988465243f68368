"""A package index on loopback (the simple repository API, PEP 503), with tiny wheels made on the fly."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@dataclass(frozen=True, slots=True)
class Release:
    """One wheel."""

    name: str
    version: str
    requires: Sequence[str] = ()
    extras: Sequence[str] = ()
    yanked: str = ""
    """The reason; empty: it is not yanked."""
    tag: str = "py3-none-any"
    """For which machines it was built."""
    python: str = ""
    """For which versions of Python, such as ``>=3.99``; empty: for all."""

    @property
    def file(self) -> str:
        return f"{self.name}-{self.version}-{self.tag}.whl"

    def wheel(self) -> bytes:
        info = f"{self.name}-{self.version}.dist-info"
        headers = [f"Metadata-Version: 2.1\nName: {self.name}\nVersion: {self.version}"]
        headers += [f"Provides-Extra: {one}" for one in self.extras]
        headers += [f"Requires-Dist: {one}" for one in self.requires]
        files = {
            f"{self.name}.py": f"VERSION = {self.version!r}\n",
            f"{info}/METADATA": "\n".join(headers) + "\n",
            f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {self.tag}\n",
        }
        files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for name, text in files.items():
                archive.writestr(zipfile.ZipInfo(name), text)  # with no date: the same bytes each time
        return packed.getvalue()

    def pin(self, extra: str = "") -> str:
        """The line of a lock."""
        digest = hashlib.sha256(self.wheel()).hexdigest()
        return f"{self.name}{extra}=={self.version} \\\n    --hash=sha256:{digest}\n"


@dataclass(slots=True)
class Index:
    """What is published now."""

    releases: list[Release] = field(default_factory=list)
    url: str = ""

    def page(self, name: str) -> str:
        links = []
        for one in self.releases:
            if one.name == name:
                yanked = f' data-yanked="{one.yanked}"' if one.yanked else ""
                python = f' data-requires-python="{escape(one.python)}"' if one.python else ""
                links.append(f'<a href="/files/{one.file}"{yanked}{python}>{one.file}</a>')
        return f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>"


@contextmanager
def serving(index: Index) -> Iterator[Index]:
    """The index under its ``url``."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kind, _, name = self.path.strip("/").partition("/")
            wheels = {one.file: one for one in index.releases}
            known = name in {one.name for one in index.releases} if kind == "simple" else name in wheels
            body = (index.page(name).encode() if kind == "simple" else wheels[name].wheel()) if known else b""
            self.send_response(200 if known else 404)
            self.send_header("Content-Type", "text/html" if kind == "simple" else "application/octet-stream")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    index.url = f"http://127.0.0.1:{server.server_port}/simple"
    try:
        yield index
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
