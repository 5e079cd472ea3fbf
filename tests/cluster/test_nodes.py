import shutil
from pathlib import Path

import pytest

from cluster import nodes
from cluster.nodes import PACKAGES, packages_to_send

ROOT = Path(__file__).parents[2]


def test_the_whole_program_is_sent_and_nothing_that_was_trained() -> None:
    with packages_to_send() as copies:
        assert [Path(copy).name for copy in copies] == list(PACKAGES)
        folder = Path(copies[0]).parent
        sent = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    assert not folder.exists()
    expected = {
        path.relative_to(ROOT)
        for name in PACKAGES
        for path in (ROOT / name).rglob("*")
        if path.is_file() and not {"runs", "__pycache__"} & set(path.parts)
    }
    assert sent == expected
    assert Path("training/sample/sample.csv") in sent


def test_an_installed_program_is_sent_as_a_checkout_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in PACKAGES:
        shutil.copytree(
            ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("runs", "__pycache__")
        )
    (tmp_path / "results" / "runs" / "first").mkdir(parents=True)
    (tmp_path / "results" / "runs" / "first" / "search.json").write_text("{}")
    (tmp_path / "elsewhere").mkdir()  # other packages beside them
    monkeypatch.setattr(nodes, "__file__", str(tmp_path / "cluster" / "code.py"))
    with packages_to_send() as copies:
        folder = Path(copies[0]).parent
        assert {path.name for path in folder.iterdir()} == set(PACKAGES)
        assert not (folder / "results" / "runs").exists()
