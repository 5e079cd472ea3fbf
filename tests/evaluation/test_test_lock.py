import json

import pytest

from evaluation.test_lock import FIRST_REASON, TestLock
from results.errors import RunError
from results.run import Run

MODEL = "a" * 64


@pytest.fixture
def lock(tmp_path):
    return TestLock(Run(tmp_path))


def _access(lock, reason=None, model=MODEL):
    directory = lock.next_directory(reason)
    lock.open(directory, reason, model_sha256=model)
    return directory.name


def _evaluate(lock, reason=None):
    name = _access(lock, reason)
    lock.mark("seen")
    lock.mark("complete")
    return name


def test_the_first_evaluation_needs_no_reason_and_is_written_to_final(lock):
    assert _evaluate(lock) == "final"
    (access,) = lock.as_report()
    assert access["reason"] == FIRST_REASON
    assert access["at"].endswith("+00:00")


def test_a_second_evaluation_is_refused_with_the_time_of_the_first_and_the_next_step(lock):
    _evaluate(lock)
    with pytest.raises(RunError, match=r"evaluated on its test set at 20.*--reopen-test") as caught:
        lock.next_directory(None)
    assert "\n" not in str(caught.value)


def test_every_further_evaluation_has_its_reason_and_its_own_directory(lock):
    names = [_evaluate(lock, reason) for reason in (None, "labels corrected", "again")]
    assert names == ["final", "final-2", "final-3"]
    reasons = [access["reason"] for access in lock.as_report()]
    assert reasons == [FIRST_REASON, "labels corrected", "again"]


@pytest.mark.parametrize("reason", ["", "  "])
def test_an_empty_reason_is_refused(lock, reason):
    _evaluate(lock)
    with pytest.raises(RunError, match="must be a reason"):
        lock.next_directory(reason)


def test_an_access_interrupted_before_any_score_is_continued_in_its_directory(lock):
    _access(lock)
    (before,) = lock.accesses()
    assert _access(lock) == "final"
    assert lock.accesses() == [before]


def test_another_model_after_an_access_interrupted_before_any_score_is_another_access(lock):
    _access(lock)
    assert (
        _access(lock, model="b" * 64) == "final"
    )  # the first one reported no score, and stays on record
    assert [access.model_sha256[0] for access in lock.accesses()] == ["a", "b"]
    assert len(lock.as_report()) == 2


def test_a_report_without_a_recorded_access_is_refused(lock, tmp_path):
    reports = tmp_path / "final" / "reports"
    reports.mkdir(parents=True)
    (reports / "evaluation_report.json").write_text("{}", encoding="utf-8")
    for content in (None, "[]"):
        if content is not None:
            lock.path.write_text(content, encoding="utf-8")
        with pytest.raises(RunError, match="lists no test access"):
            lock.next_directory(None)


def test_an_access_interrupted_while_it_was_written_is_continued_and_counts_once(lock):
    _access(lock)
    lock.mark("seen")
    (before,) = lock.accesses()
    assert _access(lock) == "final"
    assert lock.accesses() == [before]
    lock.mark("complete")
    with pytest.raises(RunError, match="may be done once"):
        lock.next_directory(None)


def test_an_access_interrupted_while_it_was_written_is_not_continued_with_another_model(lock):
    _access(lock)
    lock.mark("seen")
    with pytest.raises(RunError, match="another evaluation on the test set") as caught:
        _access(lock, model="b" * 64)
    assert "\n" not in str(caught.value)
    assert _access(lock, "the checkpoint was lost", model="b" * 64) == "final-2"
    assert [access.state for access in lock.accesses()] == ["seen", "opened"]


def test_a_second_evaluation_interrupted_while_it_was_written_is_continued_with_its_reason(lock):
    _evaluate(lock)
    _access(lock, "why")
    lock.mark("seen")
    assert lock.next_directory("why").name == "final-2"
    assert lock.next_directory(None).name == "final-2"
    assert lock.next_directory("why not").name == "final-3"


def test_a_second_evaluation_interrupted_before_any_score_needs_its_reason_again(lock):
    _evaluate(lock)
    _access(lock, "why")
    with pytest.raises(RunError, match="--reopen-test"):
        lock.next_directory(None)
    assert lock.next_directory("why").name == "final-2"


def test_of_two_processes_that_started_together_only_the_first_may_evaluate(lock):
    directory = lock.next_directory(None)
    _evaluate(lock)  # the other process
    with pytest.raises(RunError, match="evaluated on its test set at"):
        lock.open(directory, None, model_sha256=MODEL)
    with pytest.raises(RunError, match="another process"):
        lock.open(directory, "why", model_sha256=MODEL)
    assert len(lock.accesses()) == 1


@pytest.mark.parametrize("content", ["", "[{", "[1]", '[{"at": "x"}]', "null", '{"at": 1}'])
def test_a_list_of_accesses_that_cannot_be_read_is_refused(lock, content):
    lock.path.write_text(content, encoding="utf-8")
    with pytest.raises(RunError, match="unknown whether a model was evaluated"):
        lock.next_directory(None)


def test_an_access_is_on_disk_as_soon_as_it_is_made(lock):
    _access(lock)
    (written,) = json.loads(lock.path.read_text("utf-8"))
    assert written["state"] == "opened"


OF_EARLIER = {
    **{"at": "2026-01-01T00:00:00+00:00", "reason": FIRST_REASON, "directory": "final"},
    **{"model_sha256": MODEL, "state": "complete", "run": "old", "rows": 410},
}


def test_after_an_evaluation_of_an_earlier_run_the_first_one_needs_a_reason(lock):
    lock.path.write_text(json.dumps([OF_EARLIER]))
    expected = r"started from run old, .* on 410 .* --reopen-test"
    with pytest.raises(RunError, match=expected) as caught:
        lock.next_directory(None)
    assert "\n" not in str(caught.value)
    assert _evaluate(lock, "more rows") == "final"
    earlier, own = lock.as_report()
    assert (earlier["run"], earlier["rows"], earlier["at"]) == ("old", 410, OF_EARLIER["at"])
    assert own["reason"] == "more rows"
    assert "run" not in own
    assert [access.run for access in lock.own_accesses()] == [""]
    with pytest.raises(RunError, match="evaluated on its test set at"):
        lock.next_directory(None)
    assert _evaluate(lock, "again") == "final-2"


def test_an_interrupted_evaluation_after_one_of_an_earlier_run_is_continued(lock):
    lock.path.write_text(json.dumps([OF_EARLIER]))
    assert _access(lock, "more rows") == "final"
    assert _access(lock, "more rows") == "final"
    assert len(lock.accesses()) == 2
    lock.mark("seen")
    assert lock.next_directory(None).name == "final"


@pytest.mark.parametrize("changed", [{"rows": "many"}, {"run": 3}, {"run": None}])
def test_a_damaged_access_of_an_earlier_run_is_an_error(lock, changed):
    lock.path.write_text(json.dumps([OF_EARLIER | changed]))
    with pytest.raises(RunError, match="cannot be read"):
        lock.accesses()
