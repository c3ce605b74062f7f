"""Secrets: from the environment or private files, never said, and taken out of what others say."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from config import secrets
from config.logs import configure
from config.secrets import hide, keep, read_private, secret_of, without_secrets
from config.settings import load, parse
from engine.errors import ConfigError

SECRET = "hushhushhushhush0123"


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    known = secrets._known[:]
    yield
    secrets._known[:] = known
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def private(path: Path, content: str = SECRET, mode: int = 0o600) -> Path:
    path.write_text(content)
    path.chmod(mode)
    return path


def test_what_is_kept_is_hidden_and_parts_of_one_another_too() -> None:
    keep(SECRET[:14])
    keep(SECRET)
    keep(SECRET)
    assert hide(f"<{SECRET}> {SECRET[:14]} {SECRET[:13]}") == f"<<hidden>> <hidden> {SECRET[:13]}"


def test_words_of_a_demo_are_no_secrets() -> None:
    keep("demo")
    keep("")
    assert hide("a demo of demos") == "a demo of demos"


def test_a_private_file_is_read_without_its_line_end(tmp_path: Path) -> None:
    assert read_private(private(tmp_path / "key", f"{SECRET}\n"), "key file") == SECRET


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o444])
def test_a_file_that_others_may_touch_is_refused_with_the_mend(tmp_path: Path, mode: int) -> None:
    path = private(tmp_path / "key", mode=mode)
    with pytest.raises(ConfigError) as caught:
        read_private(path, "ALPACA_SECRET_KEY_FILE")
    assert str(caught.value) == (
        f"ALPACA_SECRET_KEY_FILE {path} can be read or changed by others (mode {mode:04o}): chmod 600 {path}"
    )


def test_the_mode_that_counts_is_the_files_own_not_the_links(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(private(tmp_path / "key"))
    assert read_private(tmp_path / "link", "key file") == SECRET
    private(tmp_path / "key", mode=0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_private(tmp_path / "link", "key file")


def test_what_is_no_file_is_refused_and_nobody_waits_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path, said in (
        (tmp_path, "is no file"), (tmp_path / "pipe", "is no file"), (tmp_path / "none", "No such file"),
        (private(tmp_path / "empty", " \n"), "is empty"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=said) as caught:
            read_private(path, "key file")
        assert str(path) in str(caught.value)


def test_a_secret_comes_from_the_variable_or_the_file_it_names(tmp_path: Path) -> None:
    path = private(tmp_path / "key", f"{SECRET}\n")
    assert secret_of({"ALPACA_SECRET_KEY": "abc"}, "ALPACA_SECRET_KEY") == "abc"
    assert secret_of({"ALPACA_SECRET_KEY_FILE": str(path)}, "ALPACA_SECRET_KEY") == SECRET
    assert secret_of({}, "ALPACA_SECRET_KEY") == ""
    assert hide(SECRET) == "<hidden>"
    with pytest.raises(ConfigError, match="both set: unset one"):
        secret_of({"ALPACA_SECRET_KEY": "abc", "ALPACA_SECRET_KEY_FILE": str(path)}, "ALPACA_SECRET_KEY")


@pytest.mark.parametrize("value", [f"{SECRET} more", f"{SECRET}\nmore", f"{SECRET}\x00", f"{SECRET}ü", f" {SECRET}"])
def test_a_value_that_is_no_key_is_refused_without_saying_it(value: str) -> None:
    with pytest.raises(ConfigError, match="ALPACA_API_KEY") as caught:
        secret_of({"ALPACA_API_KEY": value}, "ALPACA_API_KEY")
    assert SECRET not in str(caught.value)


def test_children_without_business_with_the_venue_get_no_keys() -> None:
    names = ("ALPACA_API_KEY", "ALPACA_SECRET_KEY", "ALPACA_API_KEY_FILE", "ALPACA_SECRET_KEY_FILE")
    environment = dict.fromkeys(names, SECRET) | {"PATH": "/bin", "TAPELINE_LOG__LEVEL": "info"}
    assert without_secrets(environment) == {"PATH": "/bin", "TAPELINE_LOG__LEVEL": "info"}


def test_logs_say_no_secret_neither_ours_nor_vendors(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before = root.handlers[:]
    root.handlers.clear()
    try:
        configure("info", "feed")
        keep(SECRET)
        log = structlog.get_logger()
        log.warning(SECRET, key=SECRET, within={"it": [SECRET]})
        log.error("failed", exc_info=ValueError(f"bad key {SECRET}"))
        logging.getLogger("vendor").warning("sent %s", SECRET)
        try:
            raise ValueError(SECRET)  # noqa: TRY301
        except ValueError:
            logging.getLogger("vendor").exception("failed")
    finally:
        root.handlers[:] = before
    said = capsys.readouterr().err
    assert SECRET not in said
    assert said.count("<hidden>") == 6
    assert json.loads(said.splitlines()[0])["within"] == {"it": ["<hidden>"]}


_CRASH = """
import sys, threading
from config.secrets import guard_tracebacks, keep
guard_tracebacks()
keep(sys.argv[1])
def fail():
    raise ValueError(f"the key {sys.argv[1]} is bad") from RuntimeError(sys.argv[1])
class Late:
    def __del__(self): fail()
thread = threading.Thread(target=fail)
thread.start()
thread.join()
late = Late()
del late
fail()
"""


def test_tracebacks_say_no_secret_on_any_thread() -> None:
    done = subprocess.run([sys.executable, "-c", _CRASH, SECRET], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert SECRET not in done.stderr
    assert done.stderr.count("ValueError: the key <hidden> is bad") == 3
    assert done.stderr.count("RuntimeError: <hidden>") == 3


@pytest.mark.parametrize("url", [f"nats://user:{SECRET}@host:4222", f"nats://{SECRET}@host", f"user:{SECRET}@host:1"])
@pytest.mark.parametrize("name", ["nats.url", "alpaca.rest_url", "venue_clock_url"])
def test_a_url_with_a_password_is_refused_without_saying_it(url: str, name: str) -> None:
    section, _, field = name.rpartition(".")
    tree = {section: {field: url}} if section else {field: url}
    with pytest.raises(ConfigError, match=f"^{name} holds a user or password") as caught:
        parse(tree)
    assert SECRET not in str(caught.value)


def test_a_secret_that_was_taken_for_a_setting_is_not_said() -> None:
    for name in ("TAPELINE_ALPACA__SECRET_KEY", "TAPELINE_NATS__NKEY_SEED"):
        with pytest.raises(ConfigError, match="unknown setting") as caught:
            load(None, {name: SECRET, "TAPELINE_CONFIG": os.devnull})
        assert SECRET not in str(caught.value)
