"""Publishing a real model to a Hub in memory: what it is given, and what is refused."""

import json
import shutil
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import huggingface_hub
import pytest
from huggingface_hub.errors import OfflineModeIsEnabled

from evaluation import publish as module
from evaluation.publish import PublishError, main, publish
from evaluation.published_files import card_to_publish
from results.errors import RunError
from results.log import PACKAGES, log_to_terminal, preserve_logging
from tests.evaluation.conftest import FinalRun
from training.cli import run_command
from training.errors import InputError

UPLOADED = [
    *("README.md", "config.json", "model.onnx", "model.safetensors", "pytorch_model.bin"),
    *("tokenizer.json", "tokenizer_config.json", "training_config.yaml"),
]


@dataclass
class HubInMemory:
    """Stands in for `huggingface_hub.HfApi`: keeps the arguments and the files that it is given."""

    is_private: bool = True
    error: Exception | None = None
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)

    def create_repo(self, repo_id: str, *, private: bool, exist_ok: bool) -> None:
        if self.error is not None:
            raise self.error
        self.calls.append((repo_id, {"private": private, "exist_ok": exist_ok}))

    def repo_info(self, repo_id: str) -> Namespace:
        return Namespace(private=self.is_private)

    def upload_folder(
        self, *, repo_id: str, folder_path: Path, allow_patterns: list[str], commit_message: str
    ) -> None:
        self.calls.append((repo_id, {"allow_patterns": allow_patterns}))
        self.files = {path.name: path.read_bytes() for path in folder_path.iterdir()}


@pytest.fixture(autouse=True)
def _logging() -> Iterator[None]:
    with preserve_logging(PACKAGES):
        log_to_terminal()
        yield


@pytest.fixture
def final(finished_final: FinalRun, tmp_path: Path) -> Path:
    """A copy of a run that was evaluated; returns its `final`."""
    run = Path(shutil.copytree(finished_final.directory, tmp_path / "run"))
    return run / "final"


@pytest.fixture
def winner(final: Path) -> Path:
    """A model whose verdict is to use it; the evaluation is changed to that end."""
    path = final / "reports" / "evaluation_report.json"
    report = json.loads(path.read_text("utf-8"))
    report["score"] = report["f1_macro"] = 0.97
    report["baseline"] |= {"score": 0.5, "f1_macro": 0.5, "difference": {"score": 0.47}}
    report["baseline"]["p_value"] = {"score": 0.0001}
    report["stages"], report["earlier_openings"] = {}, []
    for row in report["per_class"].values():
        row["support"] = 50
    report["confusion_matrix"] = [[50 * (i == j) for j in range(4)] for i in range(4)]
    path.write_text(json.dumps(report), "utf-8")
    return final / "model"


def _options(model: Path, **changes: Any) -> Namespace:
    options = {"repo": "me/model", "public": False, "anyway": None, "dry_run": False}
    return Namespace(model=str(model), **{**options, **changes})


def _refusal(model: Path, hub: HubInMemory | None = None, **changes: Any) -> list[str]:
    token = changes.pop("token", "hf_x")
    with pytest.raises(InputError) as refused:
        publish(_options(model, **changes), hub or HubInMemory(), token=token)
    return list(refused.value.problems)


def test_a_model_to_use_is_uploaded_privately_by_an_allow_list(
    winner: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub = HubInMemory()
    assert publish(_options(winner), hub, token="hf_x") == 0
    assert hub.calls == [
        ("me/model", {"private": True, "exist_ok": True}),
        ("me/model", {"allow_patterns": UPLOADED}),
    ]
    assert sorted(hub.files) == UPLOADED
    assert (winner / "trained_on.bin").exists()
    for name in ("model.safetensors", "tokenizer.json", "model.onnx"):
        assert hub.files[name] == (winner / name).read_bytes()
    assert 'model="me/model"' in hub.files["README.md"].decode()
    assert "Published although" not in hub.files["README.md"].decode()
    assert capsys.readouterr().out.endswith("Next: https://huggingface.co/me/model (private)\n")
    assert list(winner.parent.glob(".publish-*")) == []


def test_no_directory_of_this_machine_is_uploaded(winner: Path, tmp_path: Path) -> None:
    settings = (winner / "training_config.yaml").read_text("utf-8")
    assert str(Path.cwd().anchor) in settings  # the path of the data
    config = json.loads((winner / "config.json").read_text("utf-8"))
    local = {**config, "_name_or_path": "/home/me/secret/encoder"}
    (winner / "config.json").write_text(json.dumps(local), "utf-8")
    with (winner / "README.md").open("a", encoding="utf-8") as card:
        card.write("\nrun --data /home/me/secret/data.csv or ~/secret/x or https://a.example/b/c\n")
    hub = HubInMemory()
    publish(_options(winner), hub, token="hf_x")
    for name in set(UPLOADED) - {"model.onnx", "pytorch_model.bin", "model.safetensors"}:
        text = hub.files[name].decode("utf-8")
        assert "secret" not in text, name
        assert "/tmp" not in text, name
        assert str(tmp_path.parent) not in text, name
    assert "run --data data.csv or x or https://a.example/b/c" in hub.files["README.md"].decode()
    assert json.loads(hub.files["config.json"]) == config


def test_a_public_repository_is_asked_for(winner: Path) -> None:
    hub = HubInMemory(is_private=False)
    publish(_options(winner, public=True), hub, token="hf_x")
    assert hub.calls[0] == ("me/model", {"private": False, "exist_ok": True})


def test_a_repository_that_exists_and_is_public_is_refused_unless_asked_for(winner: Path) -> None:
    hub = HubInMemory(is_private=False)
    (line,) = _refusal(winner, hub)
    assert "exists and is public" in line
    assert hub.files == {}


def test_a_model_that_loses_is_refused_with_the_sentence_of_the_verdict(final: Path) -> None:
    (line,) = _refusal(final / "model")
    assert "whose verdict is not to use it: " in line
    assert '--anyway "REASON"' in line


def test_a_reason_is_written_into_the_card_and_the_log(final: Path) -> None:
    hub = HubInMemory()
    publish(_options(final / "model", anyway="a *demo*\nfor us"), hub, token="hf_x")
    lines = hub.files["README.md"].decode().splitlines()
    title = next(n for n, line in enumerate(lines) if line.startswith("# "))
    assert lines[title + 2].startswith("> Published although: ")
    assert lines[title + 2].endswith("Reason: a \\*demo\\* for us")
    assert "Published although" not in (final / "model" / "README.md").read_text("utf-8")
    assert "Reason: a *demo* for us" in (final / "logs" / "publish.log").read_text("utf-8")


@pytest.mark.parametrize("reason", ["", "  "])
def test_an_empty_reason_is_none(final: Path, reason: str) -> None:
    (line,) = _refusal(final / "model", anyway=reason)
    assert line.startswith("--anyway is empty")


@pytest.mark.parametrize("content", [None, "", "[]", "{}", '{"objective": 3}'])
def test_without_an_evaluation_that_can_be_read_a_model_is_refused(
    winner: Path, content: str | None
) -> None:
    path = winner.parent / "reports" / "evaluation_report.json"
    path.unlink() if content is None else path.write_text(content)
    (line,) = _refusal(winner)
    assert "no evaluation of it can be read" in line or "Not evaluated yet" in line


def test_a_model_outside_of_a_run_is_refused(model_directory: Path) -> None:
    (line,) = _refusal(model_directory)
    assert "no evaluation of it can be read" in line


def test_everything_that_is_wrong_is_reported_at_once(final: Path) -> None:
    (final / "model" / "README.md").unlink()
    (final / "model" / "model.safetensors").unlink()
    (final / "model" / "pytorch_model.bin").unlink()
    problems = _refusal(final / "model", repo="a/b/c", token=None)
    assert len(problems) == 4
    assert "--repo is 'a/b/c', but must be OWNER/NAME" in problems[0]
    assert "model.safetensors, README.md is missing" in problems[1]
    assert "whose verdict is not to use it" in problems[2]
    assert problems[3].startswith("no token of the Hub: run hf auth login, or set HF_TOKEN")


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "README.md"])
def test_a_link_to_a_file_elsewhere_is_refused(winner: Path, tmp_path: Path, name: str) -> None:
    secret = tmp_path / "secret"
    (winner / name).rename(secret)
    (winner / name).symlink_to(secret)
    (line,) = _refusal(winner)
    assert f"{name} is a link to a file elsewhere" in line


def test_a_link_inside_the_directory_is_followed(winner: Path) -> None:
    (winner / "model.safetensors").rename(winner / "weights")
    (winner / "model.safetensors").symlink_to("weights")
    hub = HubInMemory()
    publish(_options(winner), hub, token="hf_x")
    assert hub.files["model.safetensors"] == (winner / "weights").read_bytes()


def test_the_baseline_is_refused_with_the_reason(final: Path) -> None:
    problems = _refusal(final / "baseline", anyway="it wins")
    assert ["its n-grams are words of training texts" in line for line in problems] == [True]


def test_no_such_directory_is_one_error(tmp_path: Path) -> None:
    problems = _refusal(tmp_path / "none", anyway="x")
    assert problems == [
        f"--model is {str(tmp_path / 'none')!r}, but there is no such directory; give final/model"
        " of a run"
    ]


def test_a_damaged_configuration_is_an_error(winner: Path) -> None:
    (winner / "training_config.yaml").write_text("data: 3\n")
    (line,) = _refusal(winner)
    assert "sections data and model are missing" in line


@pytest.mark.parametrize("kind", [OfflineModeIsEnabled, httpx2.ConnectError, RuntimeError])
def test_a_failure_of_the_network_is_one_line(winner: Path, kind: type[Exception]) -> None:
    hub = HubInMemory(error=kind("no\nroute"))
    with pytest.raises(PublishError, match=r"did not take the model \(no route\); check the"):
        publish(_options(winner), hub, token="hf_x")


def test_a_dry_run_prints_the_files_and_uploads_none(
    winner: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub = HubInMemory()
    assert publish(_options(winner, dry_run=True), hub, token=None) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("would upload to me/model (private):\n")
    assert "not uploaded: .gitignore, trained_on.bin" in printed
    assert hub.calls == []


def test_the_library_takes_these_arguments() -> None:
    api = huggingface_hub.HfApi(endpoint="http://127.0.0.1:1")
    assert {"private", "exist_ok"} <= _names(api.create_repo)
    wanted = {"repo_id", "folder_path", "allow_patterns", "commit_message"}
    assert wanted <= _names(api.upload_folder)


def _names(function: Any) -> set[str]:
    import inspect

    return set(inspect.signature(function).parameters)


def test_the_command_ends_with_1_where_the_hub_cannot_be_reached(
    winner: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_x")  # the tests are offline (HF_HUB_OFFLINE)
    arguments = ["publish", "--model", str(winner), "--repo", "me/model"]
    monkeypatch.setattr("sys.argv", arguments)
    assert run_command(main, bad_input=(RunError,), environment=(module.PublishError,)) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: --repo me/model: the Hub did not take the model")


def test_a_card_without_a_title_gets_the_note_at_its_end() -> None:
    assert card_to_publish("text", repo="a/b", note="a note") == "text\n\n> a note\n"
