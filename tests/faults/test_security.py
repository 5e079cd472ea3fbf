"""Nothing in a data file, a model or a run is executed, leads out of it, or reveals a secret.

Each attack would create a file. The test first shows that it can, so that the test can fail.
"""

import json
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
import yaml

from results.errors import RunError
from results.files import append_row
from results.run import Run, open_run
from tests.evaluation.conftest import SEARCH
from tests.faults.commands import Ended, run_here, run_main
from tests.faults.materials import Materials, make_materials
from training.checkpoint import CHECKPOINT_FILE, STATE_KEY, CheckpointFile
from tuning.command_line import read_command
from tuning.initial_state import prepare_new
from tuning.resume import recall_trials
from tuning.start import build, read_yaml

ROOT = Path(__file__).parents[2]
PICKLES = ("pytorch_model.bin", "training_args.bin", "optimizer.pt", "rng_state.pth")
BACKENDS = ("torch", "onnx")
SECRETS = {
    "HF_TOKEN": "hf_thisIsASecret",
    "AWS_SECRET_ACCESS_KEY": "aws/secret+Key",
    "WANDB_API_KEY": "0123456789abcdefsecret",
}


class Attack:
    """Pickled, it makes a file when it is read."""

    def __init__(self, made: Path) -> None:
        self.made = made

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.made,)


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory, small_bert: Path) -> Materials:
    return make_materials(tmp_path_factory.mktemp("sound"), small_bert)


@pytest.fixture
def made(tmp_path: Path) -> Path:
    return tmp_path / "made-by-the-attack"


@pytest.fixture
def hostile(made: Path) -> bytes:
    """Return a pickle that creates the file; check that it does, and remove the file again."""
    content = pickle.dumps(Attack(made))
    pickle.loads(content)
    assert made.exists(), "the attack does nothing"
    made.unlink()
    return content


@pytest.fixture
def model(sound: Materials, tmp_path: Path) -> Path:
    return sound.copy(sound.model, tmp_path)


@pytest.fixture
def run(sound: Materials, tmp_path: Path) -> Run:
    return Run(sound.copy(sound.run, tmp_path))


def prepare(capfd: pytest.CaptureFixture[str], sound: Materials, *arguments: str) -> Ended:
    """Do all that a new search does before its rehearsal, which reads no file of the user."""
    given = ["--config", str(sound.configuration), *arguments]
    return run_main(capfd, _prepare, given, module="tuning.search")


def _prepare(arguments: Sequence[str]) -> int:
    configuration = read_command(arguments)[2]
    with tempfile.TemporaryDirectory() as scratch:
        prepare_new(configuration, "search", Path(scratch) / "tokenizer")
    return 0


def predict(
    capfd: pytest.CaptureFixture[str], sound: Materials, model: Path, backend: str = "torch"
) -> Ended:
    given = ["--model", str(model), "--input", str(sound.table(".csv")), "--backend", backend]
    output = str(model.parent / "answers.csv")
    return run_here(capfd, "evaluation.predict", [*given, "--output", output])


def is_refused(ended: Ended) -> bool:
    lines = ended.stderr.splitlines()
    return ended.code == 2 and bool(lines) and all(line.startswith("error: ") for line in lines)


@pytest.mark.parametrize("has_weights", [True, False])
@pytest.mark.parametrize("command", ["search", "random", *BACKENDS])
def test_no_pickle_in_a_model_directory_is_read(
    command: str,
    has_weights: bool,
    sound: Materials,
    model: Path,
    hostile: bytes,
    made: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    for name in PICKLES:
        (model / name).write_bytes(hostile)
    if not has_weights:
        (model / "model.safetensors").unlink()
    if command in BACKENDS:
        ended = predict(capfd, sound, model, command)
    else:
        weights = "random" if command == "random" else "pretrained"
        given = ["--model", str(model), "--model.weights", weights]
        ended = prepare(capfd, sound, *given)
    assert not made.exists()
    # If other weights are read, or none, the pickles are files that are never read.
    assert is_refused(ended) or (ended.code == 0 and (has_weights or command in ("random", "onnx")))


def with_code(model: Path, made: Path) -> None:
    source = f"from pathlib import Path\nPath({str(made)!r}).touch()\n"
    for name in ("modeling_own.py", "configuration_own.py", "tokenization_own.py"):
        (model / name).write_text(source)
    config = json.loads((model / "config.json").read_text("utf-8"))
    config |= {
        "model_type": "own",
        "auto_map": {
            "AutoConfig": "configuration_own.OwnConfig",
            "AutoModelForSequenceClassification": "modeling_own.OwnModel",
        },
    }
    (model / "config.json").write_text(json.dumps(config))
    settings = json.loads((model / "tokenizer_config.json").read_text("utf-8"))
    settings |= {
        "tokenizer_class": "OwnTokenizer",
        "auto_map": {"AutoTokenizer": ["tokenization_own.OwnTokenizer", None]},
    }
    (model / "tokenizer_config.json").write_text(json.dumps(settings))


@pytest.mark.parametrize("command", ["search", *BACKENDS])
def test_code_in_a_model_directory_is_neither_run_nor_asked_about(
    command: str,
    sound: Materials,
    model: Path,
    made: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with_code(model, made)
    read, write = os.pipe()
    os.write(write, b"y\n" * 9)  # every question would be answered yes
    os.close(write)
    with os.fdopen(read, encoding="utf-8") as answers:
        monkeypatch.setattr(sys, "stdin", answers)
        if command == "search":
            ended = prepare(capfd, sound, "--model", str(model))
        else:
            ended = predict(capfd, sound, model, command)
        assert answers.read() == "y\n" * 9
    assert is_refused(ended), ended
    assert "[y/N]" not in ended.stdout
    assert not made.exists()
    exec((model / "modeling_own.py").read_text())
    assert made.exists(), "the attack does nothing"


def test_a_pickled_type_in_a_parquet_file_is_not_read(
    sound: Materials,
    tmp_path: Path,
    hostile: bytes,
    made: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    table = pa.Table.from_pandas(pd.read_parquet(sound.table(".parquet")))
    attack = {
        b"ARROW:extension:name": b"arrow.py_extension_type",
        b"ARROW:extension:metadata": hostile,
    }
    fields = [field.with_metadata(attack) for field in table.schema]
    schema = pa.schema(fields, metadata={**(table.schema.metadata or {}), b"pickled": hostile})
    path = tmp_path / "data.parquet"
    pyarrow.parquet.write_table(table.cast(schema), path)
    assert prepare(capfd, sound, "--data", str(path)).code in (0, 2)
    assert not made.exists()


@pytest.mark.parametrize(
    "tag",
    [
        "!!python/object/apply:os.mkdir",
        "!!python/object/new:os.mkdir",
        "!<tag:yaml.org,2002:python/object/apply:os.mkdir>",
    ],
)
@pytest.mark.parametrize("file", ["configuration", "training_config.yaml", "best.yaml"])
def test_a_tag_of_python_in_yaml_makes_nothing(
    tag: str,
    file: str,
    sound: Materials,
    model: Path,
    run: Run,
    made: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    text = f"training: {tag} [{made}]\n"
    yaml.unsafe_load(text)
    assert made.exists(), "the attack does nothing"
    made.rmdir()
    if file == "configuration":
        path = model.parent / "mine.yaml"
        path.write_text(text)
        ended = run_here(capfd, "tuning.search", ["--print-config", "--config", str(path)])
    elif file == "best.yaml":
        run.best.write_text(text)
        run.test_openings.unlink()
        ended = run_here(capfd, "evaluation.final", ["--run", str(run.directory)])
    else:
        (model / file).write_text(text)
        ended = predict(capfd, sound, model)
    assert is_refused(ended), ended
    assert "not YAML" in ended.stderr
    assert not made.exists()


@pytest.mark.parametrize("form", ["pickle", "archive"])
def test_a_hostile_checkpoint_is_not_unpickled(
    form: str, tmp_path: Path, hostile: bytes, made: Path
) -> None:
    directory = tmp_path / "checkpoint"
    directory.mkdir()
    if form == "pickle":
        (directory / CHECKPOINT_FILE).write_bytes(hostile)
    else:
        torch.save({"fingerprint": "x", STATE_KEY: Attack(made)}, directory / CHECKPOINT_FILE)
    assert CheckpointFile(directory=directory, fingerprint="x").read() is None
    assert not made.exists()


def rewrite(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


@pytest.mark.parametrize(
    "trial_id",
    ["../../outside", "/outside", "t0001/../../x", "t", "t00\uff11", "T0001", "t0000", ""],
)
def test_a_trial_s_name_that_leads_out_of_the_run_is_refused(trial_id: str, run: Run) -> None:
    configuration = build(read_yaml(run.config))
    assert len(recall_trials(run, configuration)) == 3
    for path in (run.trials, run.curves):
        rewrite(path, "t0001,", f"{trial_id},")
    with pytest.raises(RunError, match="trial_id") as refused:
        recall_trials(run, configuration)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("column", "old", "new"),
    [
        ("source", ",search,", ",rumour,"),
        ("status", ",stopped,", ",won,"),
        ("replicate", ",0,", ",999999,"),
    ],
)
def test_a_trial_of_an_unknown_kind_is_refused(column: str, old: str, new: str, run: Run) -> None:
    configuration = build(read_yaml(run.config))
    rewrite(run.trials, old, new)
    with pytest.raises(RunError, match=f"{column} is"):
        recall_trials(run, configuration)


@pytest.mark.parametrize(
    "directory", ["..", "../other", "/", ".", "", "final/../..", "final-0", "final-x", "logs", 5]
)
@pytest.mark.parametrize("state", ["opened", "seen"])
def test_a_test_access_outside_of_final_is_refused_and_nothing_is_removed(
    directory: object, state: str, run: Run, capfd: pytest.CaptureFixture[str]
) -> None:
    (access,) = json.loads(run.test_openings.read_text())
    access |= {"directory": directory, "state": state}
    run.test_openings.write_text(json.dumps([access]))
    precious = run.directory.parent / ".retrain"
    precious.mkdir()
    before = sorted(run.directory.parent.rglob("*"))
    given = ["--run", str(run.directory), "--reopen-test", "a reason"]
    ended = run_here(capfd, "evaluation.final", given)
    assert is_refused(ended), ended
    assert "directory is" in ended.stderr
    after = [path for path in run.directory.parent.rglob("*") if path.name != ".lock"]
    assert sorted(after) == [path for path in before if path.name != ".lock"]


def test_a_link_instead_of_a_table_is_not_followed(tmp_path: Path, run: Run) -> None:
    outside = tmp_path / "outside"
    outside.write_text("precious\n")
    run.curves.unlink()
    run.curves.symlink_to(outside)
    with pytest.raises(OSError, match="symbolic link"):
        append_row(run.curves, ("a",), {"a": 1})
    run.write_record({"status": "running"})
    run.record.unlink()
    run.record.symlink_to(outside)
    run.write_record({"status": "running"})
    assert outside.read_text() == "precious\n"
    assert not run.record.is_symlink()


@pytest.mark.parametrize("kind", ["directory", "loop"])
@pytest.mark.parametrize("name", ["trials.csv", "curves.csv", "test_openings.json"])
def test_a_directory_or_loop_in_a_run_is_refused(
    kind: str, name: str, run: Run, capfd: pytest.CaptureFixture[str]
) -> None:
    path = run.directory / name
    path.unlink()
    if kind == "directory":
        path.mkdir()
    else:
        path.symlink_to(path)

    given = ["--run", str(run.directory)]
    module = "evaluation.final" if name == "test_openings.json" else "tuning.status"
    if name == "curves.csv":
        with pytest.raises(RunError, match="must be"):
            recall_trials(run, build(read_yaml(run.config)))
        return
    ended = run_here(capfd, module, given)
    assert is_refused(ended), ended


NAMES = ("../x", "a/b", "/x", "..", ".", "", "a\0b")
LONG_NAMES = ("x" * 256, "x" * 5000, "\u00e9" * 200)
ODD_NAMES = ("a\nb", "~")
MORE_ODD_NAMES = ("a.", "...", " ", "-x", "a\u2028b", "CON", "a\u202eb", "\U0001f621")


@pytest.mark.parametrize(
    "name",
    [
        *(*NAMES, *LONG_NAMES, *ODD_NAMES),
        *(pytest.param(name, marks=pytest.mark.slow) for name in MORE_ODD_NAMES),
    ],
)
@pytest.mark.parametrize("resume", [False, True])
def test_a_run_s_name_is_refused_in_one_line_or_stays_in_its_directory(
    name: str, resume: bool, sound: Materials, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "runs"
    given = [f"--output.name={name}", f"--output.directory={runs}"]
    ended = prepare(capfd, sound, *given, *["--resume"] * resume)
    assert ended.code in (0, 2), ended
    if resume or name in (*NAMES, *LONG_NAMES):
        assert is_refused(ended), ended
        assert len(ended.stderr.splitlines()) == 1, ended
    assert sorted(tmp_path.iterdir()) == []


def files_with_a_secret(directory: Path) -> list[Path]:
    return [
        path
        for path in directory.rglob("*")
        if path.is_file()
        and any(secret.encode() in path.read_bytes() for secret in SECRETS.values())
    ]


def with_secrets(module: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env={**os.environ, **SECRETS},
        capture_output=True,
        check=False,
    )


def output_of(ended: subprocess.CompletedProcess[bytes]) -> bytes:
    return ended.stdout + ended.stderr


@pytest.mark.slow
def test_secrets_of_the_environment_are_in_no_output_of_predict_and_a_dry_run(
    sound: Materials, model: Path, tmp_path: Path
) -> None:
    config = ["--config", str(sound.configuration)]
    source = ["--input", str(sound.table(".csv")), "--output", str(tmp_path / "answers.csv")]
    for ended in (
        with_secrets("tuning.search", "--dry-run", *config),
        with_secrets("evaluation.predict", "--model", str(model), *source),
    ):
        assert ended.returncode == 0, output_of(ended)
        assert not any(secret.encode() in output_of(ended) for secret in SECRETS.values())
    assert (tmp_path / "answers.csv").exists()
    assert files_with_a_secret(tmp_path) == []


@pytest.mark.slow
@pytest.mark.long
def test_secrets_of_the_environment_are_in_no_file_and_no_line_of_a_search(tmp_path: Path) -> None:
    output = ["--output.directory", str(tmp_path / "runs"), "--name", "quiet"]
    ended = with_secrets("tuning.search", *SEARCH, *output)
    assert ended.returncode == 0, output_of(ended)
    assert not any(secret.encode() in output_of(ended) for secret in SECRETS.values())
    run = open_run(tmp_path / "runs" / "quiet")
    assert run.report.exists()
    assert files_with_a_secret(tmp_path) == []
    (tmp_path / "found").write_text(SECRETS["HF_TOKEN"])
    assert files_with_a_secret(tmp_path) == [tmp_path / "found"]
