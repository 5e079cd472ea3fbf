import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from evaluation.streams import open_input, open_output, part_of
from tests.evaluation.conftest import ROOT
from training.errors import InputError


def test_a_file_has_its_name_only_when_it_is_complete(tmp_path):
    target = tmp_path / "out.csv"
    target.write_text("old content", encoding="utf-8")
    with open_output(str(target)) as file:
        file.write(b"new")
        assert target.read_text("utf-8") == "old content"
    assert target.read_text("utf-8") == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_work_that_ends_early_leaves_the_part_next_to_the_old_file(tmp_path):
    target = tmp_path / "out.csv"
    target.write_text("old content", encoding="utf-8")

    def write_and_fail():
        with open_output(str(target)) as file:
            file.write(b"new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_and_fail()
    assert target.read_text("utf-8") == "old content"
    assert part_of(str(target)) == tmp_path / "out.csv.part"
    assert part_of(str(target)).read_text("utf-8") == "new"


def test_a_link_stays_a_link_and_its_file_is_replaced(tmp_path):
    target, link = tmp_path / "real.csv", tmp_path / "link.csv"
    link.symlink_to(target)
    with open_output(str(link)) as file:
        file.write(b"new")
    assert link.is_symlink()
    assert target.read_text("utf-8") == "new"


def test_a_named_pipe_is_written_to_directly(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_text("utf-8")))
    reader.start()
    with open_output(str(pipe)) as file:
        file.write(b"new")
    reader.join(timeout=10)
    assert got == ["new"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


WRITES = """
import sys
from evaluation.streams import open_output
from training.cli import run_command

def main(arguments):
    with open_output(arguments[0]) as file:
        file.write(b"new\\n")
    return 0

raise SystemExit(run_command(main))
"""
READS = """
import sys
from evaluation.streams import open_input
from training.cli import run_command

def main(arguments):
    with open_input(arguments[0]) as file:
        print(file.read().decode())
    return 0

raise SystemExit(run_command(main))
"""


def _shell(command, script, directory):
    """Run a line of bash in a directory, in which `$PYTHON` can run `$SCRIPT`."""
    return subprocess.run(
        ["bash", "-c", command],
        cwd=directory,
        env={**os.environ, "PYTHON": sys.executable, "SCRIPT": script, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    "command",
    [
        '"$PYTHON" -c "$SCRIPT" /dev/stdout >> out.txt',
        '"$PYTHON" -c "$SCRIPT" /dev/stderr 2>> out.txt',
        '"$PYTHON" -c "$SCRIPT" /dev/fd/3 3>> out.txt',
        'ln -s /dev/stdout link; "$PYTHON" -c "$SCRIPT" link >> out.txt; rm link',
        '"$PYTHON" -c "$SCRIPT" /dev/stdout | cat >> out.txt',
        '"$PYTHON" -c "$SCRIPT" /dev/fd/3 3> >(cat >> out.txt); sleep 0.5',
        '"$PYTHON" -c "$SCRIPT" >(cat >> out.txt); sleep 0.5',
    ],
)
def test_an_open_file_or_pipe_given_by_name_is_appended_to(tmp_path, command):
    (tmp_path / "out.txt").write_text("old\n", encoding="utf-8")
    inode = (tmp_path / "out.txt").stat().st_ino
    done = _shell(command, WRITES, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "out.txt").read_text("utf-8") == "old\nnew\n"
    assert (tmp_path / "out.txt").stat().st_ino == inode
    assert [path.name for path in tmp_path.iterdir()] == ["out.txt"]


def test_a_device_or_pipe_is_its_own_part(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert part_of(str(pipe)) == pipe
    assert part_of("/dev/null") == Path("/dev/null")
    assert part_of("/dev/shm/out.csv").name == "out.csv.part"


@pytest.mark.parametrize(
    ("command", "script", "words"),
    [
        ('"$PYTHON" -c "$SCRIPT" - >&-', WRITES, "standard output is closed"),
        ('"$PYTHON" -c "$SCRIPT" - <&-', READS, "standard input is closed"),
    ],
)
def test_a_standard_stream_that_cannot_be_used_is_one_line_and_exit_code_2(
    tmp_path, command, script, words
):
    done = _shell(command, script, tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: --")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["loop", "loop/a.csv", "x" * 300, "x" * 253, "file/a.csv"])
def test_an_impossible_file_name_is_an_input_error(tmp_path, name):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="--output is"), open_output(str(tmp_path / name)):
        pass
    if len(name) != 253:  # only its part has too long a name
        with pytest.raises(InputError, match="--input is"), open_input(str(tmp_path / name)):
            pass
