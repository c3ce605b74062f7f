"""Looks for needles in everything a run left behind: each file byte by byte, and each DuckDB table as text, since a
compressed column shows nothing of its words in the file. And a door to the venue that says back what it was sent."""

import base64
import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import duckdb


def forms(needle: str) -> list[bytes]:
    """Give the needle as it is, and as a header of HTTP's basic scheme would hold it at any of three offsets."""
    found = [needle.encode()]
    for before in range(3):
        text = base64.b64encode(b"x" * before + needle.encode()).decode()
        found.append(text[4 if before else 0 : -4].encode())
    return found


def places(folder: Path, needles: list[str], skip: str = "") -> set[str]:
    """Give the files and tables below `folder` that hold one of the needles; files whose name ends in `skip` count not."""
    wanted = [form for needle in needles for form in forms(needle)]
    found: set[str] = set()
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or (skip and path.name.endswith(skip)):
            continue
        name = str(path.relative_to(folder))
        content = path.read_bytes()
        if any(form in content for form in wanted):
            found.add(name)
        if ".duckdb" in name and not name.endswith(".wal"):
            found |= {f"{name}:{table}" for table, text in _tables(path) if any(form in text for form in wanted)}
    return found


def _tables(path: Path) -> Iterator[tuple[str, bytes]]:
    with duckdb.connect(str(path), read_only=True) as connection:
        for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall():
            yield name, repr(connection.execute(f'SELECT * FROM "{name}"').fetchall()).encode()


Spoil = Callable[[str, str], int]
"""Gives the status with which a request (method, path) is refused, its headers in the answer; 0 lets it through."""


@contextmanager
def echoing_door(url: str, spoil: Spoil) -> Iterator[str]:
    """Stand before the REST of an exchange and, where `spoil` says so, answer with the request's own headers."""

    class Door(BaseHTTPRequestHandler):
        def _pass(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status = spoil(self.command, self.path)
            if status:
                said = " ".join(f"{name}: {value}" for name, value in self.headers.items())
                self._answer(status, json.dumps({"code": 40310000, "message": f"refused: {said}"}).encode())
                return
            request = urllib.request.Request(  # noqa: S310
                url + self.path, body or None, dict(self.headers), method=self.command
            )
            try:
                with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
                    self._answer(answer.status, answer.read())
            except urllib.error.HTTPError as error:
                with error:
                    self._answer(error.code, error.read())

        do_GET = do_POST = do_DELETE = _pass  # noqa: N815

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def processes_of(folder: Path) -> dict[int, tuple[bytes, bytes]]:
    """Give command line and environment of each process that names `folder` on its command line, by process id."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            line = (entry / "cmdline").read_bytes()
            if re.search(re.escape(str(folder)).encode(), line):
                found[int(entry.name)] = (line, (entry / "environ").read_bytes())
        except OSError:  # it is gone
            continue
    return found
