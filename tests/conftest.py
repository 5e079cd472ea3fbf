"""What all tests share: one thread, no network, and a small BERT made once."""

import gc
import os
import shutil
from collections.abc import Callable, Generator
from pathlib import Path

import hypothesis
import pytest
from filelock import FileLock

# Before any library reads them; processes that tests start inherit them.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"


# How long an example takes depends on what else the machine does.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")

# The longest files, which start first, so that no process is left alone with one at the end.
_FIRST = (
    *("test_simulated_searches.py", "test_any_cells.py", "test_search.py", "test_model_files.py"),
    "test_device_memory.py",
    *("test_workers.py", "test_driver_killed.py"),  # of the slow tests
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the files for pytest-xdist (`-n 2`), which gives them to its processes one by one."""
    items.sort(key=lambda item: _FIRST.index(item.path.name) if item.path.name in _FIRST else 9)


def make_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A directory of the session that one process of pytest-xdist makes, and all others wait for.

    Args:
        factory: of the session.
        name: of the directory.
        make: fills the directory, which does not exist yet.
    """
    root = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    directory, made = root / name, root / f"{name}.made"
    with FileLock(root / f"{name}.lock"):
        if not made.exists():
            make(directory)
            made.touch()
    return directory


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Escape lone surrogates, which tests write on purpose: pytest-xdist sends reports as UTF-8."""
    report = yield
    report.sections = [(title, _escape(content)) for title, content in report.sections]
    if report.longrepr is not None and _escape(text := str(report.longrepr)) != text:
        report.longrepr = _escape(text)
    return report


def _escape(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def pytest_collection_finish() -> None:
    """Exclude what was imported from garbage collections, which would take 0.3 s each."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def small_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory as a hub would give it: weights and tokenizer of a BERT, never changed.

    Two labels, no dropout, 32 positions, a vocabulary of some Javanese words.
    """
    from transformers import BertConfig, BertForSequenceClassification, set_seed

    from training.tokenizer import learn_vocabulary, save_tokenizer

    directory = tmp_path_factory.mktemp("small-bert")
    tokens = learn_vocabulary(["aku kowe dheweke pasar sawah kali gunung bodho pinter"] * 2)
    save_tokenizer(tokens, directory, max_length=32)
    set_seed(0)
    config = BertConfig(
        vocab_size=len(tokens),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    BertForSequenceClassification(config).save_pretrained(directory)
    return directory


@pytest.fixture
def bert(small_bert: Path, tmp_path: Path) -> Path:
    """A copy of `small_bert` to change or to spoil."""
    return Path(shutil.copytree(small_bert, tmp_path / "bert"))
