import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from results.errors import StorageError
from results.storage import Attempt, Retries, RetriesExhaustedError, Storage
from tests.faults.s3 import s3_server
from training.cli import has_secret, hide_secrets

QUICK = Retries(number=2, seconds=0.5, first_wait_s=0.05)


@pytest.fixture(scope="module")
def s3_location() -> Iterator[str]:
    with s3_server() as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        yield server.uri


@pytest.fixture(params=["directory", "file URI", "S3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """An empty location that does not exist yet."""
    if request.param == "S3":
        return Storage(f"{request.getfixturevalue('s3_location')}/{tmp_path.name}")
    prefix = "file://" if request.param == "file URI" else ""
    return Storage(f"{prefix}{tmp_path}/deep/files")


def _waits_forever(path: Path) -> Path:
    """A real file whose reader waits until somebody writes it: it hangs like a dead NFS."""
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(path)
    return path


def test_a_file_comes_back_as_it_was(storage: Storage, tmp_path: Path) -> None:
    source, copy = tmp_path / "source", tmp_path / "made" / "copy"
    content = os.urandom(300_000)
    source.write_bytes(content)
    storage.upload(source, "a/file.bin")
    assert storage.download("a/file.bin", copy)
    assert copy.read_bytes() == content
    assert [path.name for path in copy.parent.iterdir()] == ["copy"]


def test_a_missing_file_leaves_no_local_file(storage: Storage, tmp_path: Path) -> None:
    assert not storage.download("none", tmp_path / "made" / "copy")
    assert list((tmp_path / "made").iterdir()) == []
    assert storage.read_text("none") is None
    assert storage.names() == []
    storage.remove()


def test_a_file_is_replaced_and_nothing_is_left_beside_it(storage: Storage) -> None:
    storage.write_text("a", "a longer text")
    storage.write_text("a", "é")
    assert storage.read_text("a") == "é"
    assert storage.names() == ["a"]


def test_wildcards_in_names_are_plain_characters(storage: Storage) -> None:
    for name in ("a", "[ab]", "*", "b"):
        storage.child(name).write_text("x?", name)
    storage.child("[ab]").remove()
    storage.child("*").remove()
    assert storage.names() == ["a/x?", "b/x?"]


def test_a_directory_is_removed_and_one_with_the_same_prefix_is_kept(storage: Storage) -> None:
    storage.child("t1").write_text("b/c", "")
    storage.child("t1").write_text("d", "")
    storage.child("t10").write_text("e", "")
    storage.child("t1").remove()
    assert storage.names() == ["t10/e"]


def test_files_written_by_others_are_listed_at_once(storage: Storage) -> None:
    assert storage.names() == []
    Storage(storage.location).write_text("a", "1")
    assert storage.names() == ["a"]


def test_a_reader_never_reads_half_a_file(storage: Storage) -> None:
    seen, finished = set(), threading.Event()

    def read() -> None:
        while not finished.is_set():
            seen.add(storage.read_text("a"))

    storage.write_text("a", "0" * 1_000_000)
    reader = threading.Thread(target=read)
    reader.start()
    for digit in "123456789":
        storage.write_text("a", digit * 1_000_000)
    finished.set()
    reader.join()
    assert len(seen) > 1
    assert {text and (len(text), len(set(text))) for text in seen} == {(1_000_000, 1)}


def test_a_missing_local_file_is_not_an_error_of_the_storage(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Storage(str(tmp_path / "files")).upload(tmp_path / "none", "a")


def test_a_storage_that_hangs_ends_in_an_error_of_one_line(tmp_path: Path) -> None:
    _waits_forever(tmp_path / "files" / "a")
    started = time.monotonic()
    with pytest.raises(StorageError, match=r"no answer within 0\.5 s") as raised:
        Storage(str(tmp_path / "files"), retries=QUICK).read_text("a")
    assert 1 <= time.monotonic() - started < 3
    assert "reading a failed 2 times" in str(raised.value)
    assert "--resume" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_time_limit_of_an_attempt_grows_with_the_bytes_it_moves() -> None:
    def move(attempt: Attempt) -> str:
        attempt.allow_time_for(3_000_000)  # 1.5 s more
        time.sleep(0.8)
        return "moved"

    assert Retries(number=1, seconds=0.3).run(move, on_failure=lambda _: True) == "moved"


def test_an_attempt_past_its_time_limit_is_abandoned() -> None:
    abandoned: list[bool] = []

    def sleep(attempt: Attempt) -> None:
        abandoned.append(attempt.is_abandoned())
        time.sleep(0.4)
        abandoned.append(attempt.is_abandoned())

    with pytest.raises(RetriesExhaustedError):
        Retries(number=1, seconds=0.1).run(sleep, on_failure=lambda _: True)
    time.sleep(0.6)
    assert abandoned == [False, True]


def test_the_default_retries_end_within_a_minute() -> None:
    waits = sum(Retries().first_wait_s * 2**n for n in range(Retries().number - 1))
    assert Retries().number == 5
    assert waits + Retries().number * Retries().seconds < 59


@pytest.mark.parametrize(
    ("location", "part"),
    [
        ("nosuch://x/y", "Protocol not known"),
        ("gs://bucket/x", "install that package"),  # gcsfs is not installed
    ],
)
def test_a_permanent_error_is_raised_without_a_retry(location: str, part: str) -> None:
    started = time.monotonic()
    with pytest.raises(StorageError, match=part):
        Storage(location).write_text("a", "")
    assert time.monotonic() - started < 1


def test_a_file_in_the_way_of_the_directory_is_an_error_without_a_retry(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    started = time.monotonic()
    with pytest.raises(StorageError, match="writing a is not possible"):
        Storage(str(tmp_path / "taken")).write_text("a", "")
    assert time.monotonic() - started < 1


@pytest.mark.usefixtures("s3_location")
def test_a_missing_bucket_is_an_error_without_a_retry_and_is_not_created() -> None:
    missing = Storage("s3://no-such-bucket-here/x")
    for _ in range(2):
        started = time.monotonic()
        with pytest.raises(StorageError, match="bucket does not exist"):
            missing.write_text("a", "")
        assert time.monotonic() - started < 5


def test_a_later_attempt_uses_a_storage_that_works_again(tmp_path: Path) -> None:
    pipe = _waits_forever(tmp_path / "files" / "a")
    timer = threading.Timer(0.7, lambda: (tmp_path / "real").replace(pipe))
    (tmp_path / "real").write_text("back")
    timer.start()
    storage = Storage(
        str(tmp_path / "files"), retries=Retries(number=3, seconds=0.5, first_wait_s=0.3)
    )
    assert storage.read_text("a") == "back"


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("sftp://user:pa/ss@host/x", "sftp://***@host/x"),
        ("s3://AKIA:secret@bucket/x", "s3://***@bucket/x"),
        ("s3://bucket/x?key=a&secret=b", "s3://bucket/x?..."),
        ("https://host/x?X-Amz-Signature=abc", "https://host/x?..."),
    ],
)
def test_secrets_are_found_and_never_printed(location: str, expected: str) -> None:
    assert has_secret(location)
    assert hide_secrets(location) == expected
    with pytest.raises(StorageError) as raised:
        Storage("nosuch" + location, retries=QUICK).write_text("a", "")
    for secret in ("pa/ss", "secret", "AKIA", "abc"):
        assert secret not in str(raised.value)


@pytest.mark.parametrize(
    "location",
    ["s3://bucket/a:b@c", "sftp://user@host:22/x@y", "/tmp/a:b@c?key=1", "hdfs://host:8020/a@b"],
)
def test_a_location_without_a_secret_is_left_as_it_is(location: str) -> None:
    assert not has_secret(location)
    assert hide_secrets(location) == location
