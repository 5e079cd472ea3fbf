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
def s3_place() -> Iterator[str]:
    with s3_server() as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        yield server.place


@pytest.fixture(params=["directory", "file URI", "S3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """An empty place that nobody has made yet."""
    if request.param == "S3":
        return Storage(f"{request.getfixturevalue('s3_place')}/{tmp_path.name}")
    prefix = "file://" if request.param == "file URI" else ""
    return Storage(f"{prefix}{tmp_path}/deep/place")


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


def test_what_is_not_there_is_told_and_leaves_no_file(storage: Storage, tmp_path: Path) -> None:
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


def test_names_that_look_like_patterns_are_names(storage: Storage) -> None:
    for name in ("a", "[ab]", "*", "b"):
        storage.child(name).write_text("x?", name)
    storage.child("[ab]").remove()
    storage.child("*").remove()
    assert storage.names() == ["a/x?", "b/x?"]


def test_a_place_is_removed_whole_and_its_neighbour_stays(storage: Storage) -> None:
    storage.child("t1").write_text("b/c", "")
    storage.child("t1").write_text("d", "")
    storage.child("t10").write_text("e", "")
    storage.child("t1").remove()
    assert storage.names() == ["t10/e"]


def test_what_others_write_is_seen_at_once(storage: Storage) -> None:
    assert storage.names() == []
    Storage(storage.location).write_text("a", "1")
    assert storage.names() == ["a"]


def test_no_reader_sees_half_a_file(storage: Storage) -> None:
    seen, over = set(), threading.Event()

    def read() -> None:
        while not over.is_set():
            seen.add(storage.read_text("a"))

    storage.write_text("a", "0" * 1_000_000)
    reader = threading.Thread(target=read)
    reader.start()
    for digit in "123456789":
        storage.write_text("a", digit * 1_000_000)
    over.set()
    reader.join()
    assert len(seen) > 1
    assert {text and (len(text), len(set(text))) for text in seen} == {(1_000_000, 1)}


def test_a_source_that_is_not_there_is_not_the_storage_s_fault(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Storage(str(tmp_path / "place")).upload(tmp_path / "none", "a")


def test_a_storage_that_hangs_ends_with_one_line(tmp_path: Path) -> None:
    _waits_forever(tmp_path / "place" / "a")
    began = time.monotonic()
    with pytest.raises(StorageError, match=r"no answer within 0\.5 s") as raised:
        Storage(str(tmp_path / "place"), retries=QUICK).read_text("a")
    assert 1 <= time.monotonic() - began < 3
    assert "reading a failed 2 times" in str(raised.value)
    assert "--resume" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_time_of_a_try_grows_with_what_it_moves() -> None:
    def move(now: Attempt) -> str:
        now.allow_time_for(3_000_000)  # 1.5 s more
        time.sleep(0.8)
        return "moved"

    assert Retries(number=1, seconds=0.3).run(move, on_failure=lambda _: True) == "moved"


def test_a_try_that_nobody_waits_for_is_told_so() -> None:
    told: list[bool] = []

    def sleep(now: Attempt) -> None:
        told.append(now.is_abandoned())
        time.sleep(0.4)
        told.append(now.is_abandoned())

    with pytest.raises(RetriesExhaustedError):
        Retries(number=1, seconds=0.1).run(sleep, on_failure=lambda _: True)
    time.sleep(0.6)
    assert told == [False, True]


def test_the_shipped_tries_end_within_a_minute() -> None:
    waits = sum(Retries().first_wait_s * 2**n for n in range(Retries().number - 1))
    assert Retries().number == 5
    assert waits + Retries().number * Retries().seconds < 59


@pytest.mark.parametrize(
    ("place", "part"),
    [
        ("nosuch://x/y", "Protocol not known"),
        ("gs://bucket/x", "install that package"),  # gcsfs is none of ours
    ],
)
def test_what_no_further_try_mends_is_told_at_once(place: str, part: str) -> None:
    began = time.monotonic()
    with pytest.raises(StorageError, match=part):
        Storage(place).write_text("a", "")
    assert time.monotonic() - began < 1


def test_a_file_in_the_way_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    began = time.monotonic()
    with pytest.raises(StorageError, match="writing a is not possible"):
        Storage(str(tmp_path / "taken")).write_text("a", "")
    assert time.monotonic() - began < 1


@pytest.mark.usefixtures("s3_place")
def test_a_bucket_that_is_not_there_is_told_at_once_and_not_made() -> None:
    missing = Storage("s3://no-such-bucket-here/x")
    for _ in range(2):
        began = time.monotonic()
        with pytest.raises(StorageError, match="bucket does not exist"):
            missing.write_text("a", "")
        assert time.monotonic() - began < 5


def test_a_storage_that_comes_back_is_used_by_a_later_try(tmp_path: Path) -> None:
    pipe = _waits_forever(tmp_path / "place" / "a")
    timer = threading.Timer(0.7, lambda: (tmp_path / "real").replace(pipe))
    (tmp_path / "real").write_text("back")
    timer.start()
    storage = Storage(
        str(tmp_path / "place"), retries=Retries(number=3, seconds=0.5, first_wait_s=0.3)
    )
    assert storage.read_text("a") == "back"


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("sftp://user:pa/ss@host/x", "sftp://***@host/x"),
        ("s3://AKIA:secret@bucket/x", "s3://***@bucket/x"),
        ("s3://bucket/x?key=a&secret=b", "s3://bucket/x?..."),
        ("https://host/x?X-Amz-Signature=abc", "https://host/x?..."),
    ],
)
def test_secrets_are_found_and_never_shown(place: str, told: str) -> None:
    assert has_secret(place)
    assert hide_secrets(place) == told
    with pytest.raises(StorageError) as raised:
        Storage("nosuch" + place, retries=QUICK).write_text("a", "")
    for secret in ("pa/ss", "secret", "AKIA", "abc"):
        assert secret not in str(raised.value)


@pytest.mark.parametrize(
    "place",
    ["s3://bucket/a:b@c", "sftp://user@host:22/x@y", "/tmp/a:b@c?key=1", "hdfs://host:8020/a@b"],
)
def test_what_is_no_secret_is_none(place: str) -> None:
    assert not has_secret(place)
    assert hide_secrets(place) == place
