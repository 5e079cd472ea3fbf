import json

import pytest

from evaluation.test_lock import FIRST_REASON, TestLock
from results.errors import RunError
from results.run import Run

MODEL = "a" * 64


@pytest.fixture
def lock(tmp_path):
    return TestLock(Run(tmp_path))


def _open(lock, reason=None, model=MODEL):
    directory = lock.next_directory(reason)
    lock.open(directory, reason, model_sha256=model)
    return directory.name


def _open_and_report(lock, reason=None):
    name = _open(lock, reason)
    lock.mark("seen")
    lock.mark("complete")
    return name


def test_the_first_opening_needs_no_reason_and_goes_to_final(lock):
    assert _open_and_report(lock) == "final"
    (opening,) = lock.as_report()
    assert opening["reason"] == FIRST_REASON
    assert opening["at"].endswith("+00:00")


def test_a_second_opening_is_refused_and_says_when_the_first_was_and_what_to_do(lock):
    _open_and_report(lock)
    with pytest.raises(RunError, match=r"opened at 20.*--reopen-test") as caught:
        lock.next_directory(None)
    assert "\n" not in str(caught.value)


def test_every_further_opening_has_its_reason_and_a_directory_of_its_own(lock):
    names = [_open_and_report(lock, reason) for reason in (None, "labels mended", "again")]
    assert names == ["final", "final-2", "final-3"]
    reasons = [opening["reason"] for opening in lock.as_report()]
    assert reasons == [FIRST_REASON, "labels mended", "again"]


@pytest.mark.parametrize("reason", ["", "  "])
def test_an_empty_reason_is_none(lock, reason):
    _open_and_report(lock)
    with pytest.raises(RunError, match="must be a reason"):
        lock.next_directory(reason)


def test_an_opening_broken_off_before_any_number_is_continued_in_its_place(lock):
    _open(lock)
    (before,) = lock.openings()
    assert _open(lock) == "final"
    assert lock.openings() == [before]


def test_another_model_after_an_opening_broken_off_before_any_number_is_another_reading(lock):
    _open(lock)
    assert _open(lock, model="b" * 64) == "final"  # the first showed nothing, and stays on record
    assert [o.model_sha256[0] for o in lock.openings()] == ["a", "b"]
    assert len(lock.as_report()) == 2


def test_a_report_without_an_opening_on_record_keeps_the_test_closed(lock, tmp_path):
    reports = tmp_path / "final" / "reports"
    reports.mkdir(parents=True)
    (reports / "evaluation_report.json").write_text("{}", encoding="utf-8")
    for content in (None, "[]"):
        if content is not None:
            lock.path.write_text(content, encoding="utf-8")
        with pytest.raises(RunError, match="names no opening"):
            lock.next_directory(None)


def test_an_opening_broken_off_while_it_was_written_goes_on_and_stays_one(lock):
    _open(lock)
    lock.mark("seen")
    (before,) = lock.openings()
    assert _open(lock) == "final"
    assert lock.openings() == [before]
    lock.mark("complete")
    with pytest.raises(RunError, match="may be opened once"):
        lock.next_directory(None)


def test_an_opening_broken_off_while_it_was_written_does_not_go_on_with_another_model(lock):
    _open(lock)
    lock.mark("seen")
    with pytest.raises(RunError, match="another look at the test rows") as caught:
        _open(lock, model="b" * 64)
    assert "\n" not in str(caught.value)
    assert _open(lock, "the checkpoint was lost", model="b" * 64) == "final-2"
    assert [opening.state for opening in lock.openings()] == ["seen", "opened"]


def test_a_reopening_broken_off_while_it_was_written_goes_on_under_its_reason(lock):
    _open_and_report(lock)
    _open(lock, "why")
    lock.mark("seen")
    assert lock.next_directory("why").name == "final-2"
    assert lock.next_directory(None).name == "final-2"
    assert lock.next_directory("why not").name == "final-3"


def test_a_reopening_broken_off_before_any_number_needs_its_reason_again(lock):
    _open_and_report(lock)
    _open(lock, "why")
    with pytest.raises(RunError, match="--reopen-test"):
        lock.next_directory(None)
    assert lock.next_directory("why").name == "final-2"


def test_of_two_processes_that_began_together_the_later_may_not_open(lock):
    directory = lock.next_directory(None)
    _open_and_report(lock)  # the other process
    with pytest.raises(RunError, match="were opened at"):
        lock.open(directory, None, model_sha256=MODEL)
    with pytest.raises(RunError, match="another process"):
        lock.open(directory, "why", model_sha256=MODEL)
    assert len(lock.openings()) == 1


@pytest.mark.parametrize("content", ["", "[{", "[1]", '[{"at": "x"}]', "null", '{"at": 1}'])
def test_a_file_of_openings_that_cannot_be_read_keeps_the_test_closed(lock, content):
    lock.path.write_text(content, encoding="utf-8")
    with pytest.raises(RunError, match="unknown whether the test was"):
        lock.next_directory(None)


def test_an_opening_is_on_disk_when_it_is_made(lock):
    _open(lock)
    (written,) = json.loads(lock.path.read_text("utf-8"))
    assert written["state"] == "opened"
