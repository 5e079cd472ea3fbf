"""Logging: few plain lines on the terminal, all lines with times in the file."""

import logging
import re
import sys
import warnings

import pytest

from results.log import DETAIL, PACKAGES, log_to_file, log_to_terminal, quiet_libraries


@pytest.fixture(autouse=True)
def _loggers_as_before():
    loggers = [logging.getLogger(name) for name in PACKAGES]
    before = [(each, each.handlers, each.level, each.propagate) for each in loggers]
    for each in loggers:
        each.handlers = []
    yield
    for each, handlers, level, propagate in before:
        for handler in set(each.handlers) - set(handlers):
            handler.close()
        each.handlers, each.propagate = handlers, propagate
        each.setLevel(level)


def test_the_terminal_has_our_plain_lines_and_no_details(capsys):
    log_to_terminal()
    logging.getLogger("training.data").info("9 rows kept")
    logging.getLogger("training.data").debug("a detail")
    logging.getLogger("another.library").info("advice")
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("9 rows kept\n", "")


def test_the_file_has_the_same_lines_and_details_with_times(tmp_path, capsys):
    path = tmp_path / "logs" / "search.log"
    log_to_terminal()
    log_to_file(path)
    logging.getLogger("tuning.driver").info("started")
    logging.getLogger("evaluation.retrain").debug("a detail")
    stamp = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}"
    first, second = path.read_text("utf-8").splitlines()
    assert re.fullmatch(rf"{stamp} INFO tuning\.driver: started", first)
    assert re.fullmatch(rf"{stamp} DEBUG evaluation\.retrain: a detail", second)
    assert capsys.readouterr().out == "started\n"


def test_a_second_command_in_one_process_does_not_write_the_first_ones_file(tmp_path, capsys):
    for name in ("first", "second"):
        log_to_terminal()
        log_to_file(tmp_path / name)
        logging.getLogger("tuning").info(name)
    assert len((tmp_path / "first").read_text("utf-8").splitlines()) == 1
    assert len((tmp_path / "second").read_text("utf-8").splitlines()) == 1
    assert capsys.readouterr().out == "first\nsecond\n"


def test_a_character_that_cannot_be_encoded_is_escaped(tmp_path, capsys):
    log_to_file(tmp_path / "log")
    logging.getLogger("results").warning("file \udcff")
    assert "file \\udcff" in (tmp_path / "log").read_text("utf-8")
    assert "Logging error" not in capsys.readouterr().err


def test_lines_are_appended_to_an_existing_file(tmp_path):
    (tmp_path / "log").write_text("before\n", encoding="utf-8")
    log_to_file(tmp_path / "log")
    logging.getLogger("results").warning("after")
    assert (tmp_path / "log").read_text("utf-8").startswith("before\n")


def test_libraries_are_quiet_below_an_error():
    import transformers

    verbosity = transformers.logging.get_verbosity()
    try:
        with warnings.catch_warnings():
            quiet_libraries()
        assert transformers.logging.get_verbosity() == logging.ERROR
    finally:
        transformers.logging.set_verbosity(verbosity)


def test_details_and_control_characters_stay_out_of_the_terminal(tmp_path, capsys):
    log_to_terminal()
    log_to_file(tmp_path / "log")
    ours = logging.getLogger("tuning")
    ours.info("t0001 starts", extra=DETAIL)
    ours.warning("t0001 failed: \x1b[2J", extra=DETAIL)
    assert capsys.readouterr().out == "t0001 failed: \\x1b[2J\n"
    assert "t0001 starts" in (tmp_path / "log").read_text("utf-8")


def test_long_lines_are_broken_between_words_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "20")
    log_to_terminal()
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    logging.getLogger("tuning").info("some words of /a/long/path/that/stays/whole")
    assert capsys.readouterr().out == "some words of\n/a/long/path/that/stays/whole\n"
