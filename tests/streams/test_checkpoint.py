from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.checkpoint import CheckpointStore


def _store(folder: Path, *, role: str = "risk", code: str = "c1", config: str = "f1") -> CheckpointStore:
    return CheckpointStore(folder, role, code, config)


def _files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_written_is_read_back_by_another_process(tmp_path: Path) -> None:
    _store(tmp_path).write({"TAPE_TRADING": 7}, b"state")
    found = _store(tmp_path).newest()
    assert found is not None
    assert (found.payload, found.header.positions) == (b"state", {"TAPE_TRADING": 7})


def test_an_empty_folder_has_none(tmp_path: Path) -> None:
    assert _store(tmp_path / "new" / "one").newest() is None


@given(st.binary(max_size=300), st.dictionaries(st.text(max_size=5), st.integers(0, 2**63 - 1), max_size=3))
def test_any_state_comes_back(
    tmp_path_factory: pytest.TempPathFactory, payload: bytes, positions: dict[str, int]
) -> None:
    folder = tmp_path_factory.mktemp("ckpt")
    _store(folder).write(positions, payload)
    found = _store(folder).newest()
    assert found is not None
    assert (found.payload, found.header.positions) == (payload, positions)


def test_the_last_two_are_kept_and_the_newest_is_taken(tmp_path: Path) -> None:
    store = _store(tmp_path)
    for number in range(12):
        store.write({"s": number}, f"state {number}".encode())
    assert _files(tmp_path) == ["000000000011.ckpt", "000000000012.ckpt"]
    found = store.newest()
    assert found is not None
    assert found.payload == b"state 11"


def _two(folder: Path) -> tuple[Path, Path]:
    store = _store(folder)
    store.write({"s": 1}, b"older state")
    store.write({"s": 2}, b"newer state")
    older, newer = sorted(folder.glob("*.ckpt"))
    return older, newer


def test_a_file_torn_anywhere_is_passed_over(tmp_path: Path) -> None:
    _, newer = _two(tmp_path)
    whole = newer.read_bytes()
    for length in range(len(whole)):
        newer.write_bytes(whole[:length])
        found = _store(tmp_path).newest()
        assert found is not None
        assert found.payload == b"older state"


def test_one_wrong_bit_anywhere_is_noticed(tmp_path: Path) -> None:
    _, newer = _two(tmp_path)
    whole = bytearray(newer.read_bytes())
    for position in range(len(whole)):
        whole[position] ^= 1
        newer.write_bytes(whole)
        whole[position] ^= 1
        found = _store(tmp_path).newest()
        assert found is not None
        assert found.payload == b"older state", position


def test_junk_is_passed_over_and_does_not_stop_the_next_write(tmp_path: Path) -> None:
    older, newer = _two(tmp_path)
    older.write_bytes(b"")
    newer.write_bytes(b"not a checkpoint")
    (tmp_path / "note.ckpt").write_bytes(b"left by somebody")
    store = _store(tmp_path)
    assert store.newest() is None
    store.write({"s": 3}, b"third")
    found = store.newest()
    assert found is not None
    assert found.payload == b"third"


@pytest.mark.parametrize("other", [{"role": "signals"}, {"code": "c2"}, {"config": "f2"}])
def test_a_checkpoint_of_another_role_code_or_configuration_is_passed_over(
    tmp_path: Path, other: dict[str, str]
) -> None:
    _store(tmp_path).write({"s": 1}, b"mine")
    _store(tmp_path, **other).write({"s": 2}, b"of the other")
    found = _store(tmp_path).newest()
    assert found is not None
    assert found.payload == b"mine"
    assert _store(tmp_path, code="c3").newest() is None


def test_leftovers_of_a_killed_write_are_removed(tmp_path: Path) -> None:
    _two(tmp_path)
    (tmp_path / "000000000003.tmp").write_bytes(b"half")
    found = _store(tmp_path).newest()
    assert found is not None
    assert found.payload == b"newer state"
    assert _files(tmp_path) == ["000000000001.ckpt", "000000000002.ckpt"]
