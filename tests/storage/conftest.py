"""What the storage tests share."""

import shutil

import pytest

from storage.writer import Writer


@pytest.fixture(scope="session")
def new_file(tmp_path_factory):
    """Give a function that makes a fresh, migrated file: a copy, because migrating takes a quarter of a second."""
    template = tmp_path_factory.mktemp("template") / "t.duckdb"
    Writer.open(template, memory_limit_mb=64, threads=1).close()

    def make():
        return shutil.copy(template, tmp_path_factory.mktemp("file") / "t.duckdb")

    return make
