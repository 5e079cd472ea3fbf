from importlib.metadata import version
from pathlib import Path

from results.environment import PACKAGES, describe_environment, hash_model


def test_the_environment_names_versions_and_devices() -> None:
    found = describe_environment()
    assert set(found["packages"]) == set(PACKAGES)
    assert found["packages"]["torch"] == version("torch")
    assert found["devices"]
    assert found["commit"] is None or len(found["commit"]) == 40


def test_the_hash_of_a_model_changes_with_any_byte_or_name_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"one")
    (tmp_path / "b").write_bytes(b"two")
    first = hash_model(tmp_path)
    assert first is not None
    assert first == hash_model(tmp_path)
    (tmp_path / "b").write_bytes(b"twO")
    second = hash_model(tmp_path)
    (tmp_path / "b").rename(tmp_path / "c")
    assert len({first, second, hash_model(tmp_path)}) == 3


def test_what_is_no_directory_has_no_hash(tmp_path: Path) -> None:
    assert hash_model(tmp_path / "none") is None
    (tmp_path / "file").touch()
    assert hash_model(tmp_path / "file") is None
