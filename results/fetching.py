"""A run brought from a storage, beside what is known of it here."""

import json
import posixpath
import shutil
import tempfile
from pathlib import Path, PurePosixPath
from typing import Any

from results.errors import RunError
from results.files import write_text
from results.mirror import STATES
from results.places import without_secrets
from results.run import Run, open_run
from results.storage import Storage

_OVERVIEW = ("trials.csv", "workers.csv", "logs/search.log", "search.json")
_RECORD, _CURVES, _OPENINGS = "search.json", "curves.csv", "test_openings.json"


def fetch_run(uri: str, directory: Path) -> Run:
    """Bring a mirrored run to `directory/<its name>`.

    Where there is one of that name already and it is the same run, the one that is further stays
    (more evaluations; the local one if they are equal). A test that one of them has opened is
    known to be open afterwards.

    Raises:
        RunError: there is no run at `uri`, or another one of that name here.
        StorageError: the storage cannot be reached.
    """
    place, name = Storage(uri.rstrip("/")), _name(uri)
    record = _read_record(place, uri)
    local = directory / name
    if not local.exists():
        directory.mkdir(parents=True, exist_ok=True)
    else:
        _check_same(open_run(local), record, uri)
        if not _knows_more(place, Run(local)):
            return open_run(local)
    # A directory deeper: what a kill leaves of it is never found as a run.
    with tempfile.TemporaryDirectory(dir=directory, prefix=".fetched-") as scratch:
        fetched = Run(Path(scratch) / name)
        _download(place, fetched.directory, uri)
        if local.exists():
            with open_run(local).held():
                _join(fetched, Run(local), aside=Path(scratch) / "before")
        else:
            fetched.directory.rename(local)
    return open_run(local)


def fetch_overview(uri: str, directory: Path) -> Run:
    """Bring only what tells how far a mirrored run is; `directory` is the copy's.

    Raises:
        RunError: there is no run at `uri`.
        StorageError: the storage cannot be reached.
    """
    place = Storage(uri.rstrip("/"))
    _read_record(place, uri)
    for name in _OVERVIEW:
        place.download(name, directory / name)
    return Run(directory)


def _name(uri: str) -> str:
    name = posixpath.basename(uri.rstrip("/"))
    if name in ("", ".", "..") or "?" in name:
        raise RunError(
            f"run {without_secrets(uri)}: it does not end with a run's name, but must be the URI of"
            " one run; give STORAGE_PATH/NAME"
        )
    return name


def _read_record(place: Storage, uri: str) -> dict[str, Any]:
    text = place.read_text(_RECORD)
    if text is None:
        raise RunError(
            f"run {without_secrets(uri)}: there is no search.json, so no search was mirrored there;"
            " give STORAGE_PATH/NAME of one that was"
        )
    try:
        return dict(json.loads(text))
    except (ValueError, TypeError) as error:
        raise RunError(
            f"run {without_secrets(uri)}: search.json cannot be read ({error}); restore the file or"
            " run the search again"
        ) from error


def _check_same(local: Run, record: dict[str, Any], uri: str) -> None:
    here, there = local.read_record().get("started_at"), record.get("started_at")
    if here != there:
        raise RunError(
            f"run {without_secrets(uri)}: it began at {there}, but {local.directory} holds another"
            f" run of that name, begun at {here}; move that one away, or give another"
            " output.directory"
        )


def _knows_more(place: Storage, local: Run) -> bool:
    """Whether the storage has evaluations or test openings that are not here."""
    curves = (place.read_text(_CURVES) or "").count("\n")
    openings = _openings(place.read_text(_OPENINGS), place.place)
    return curves > _num_lines(local) or len(openings) > len(_local_openings(local))


def _num_lines(run: Run) -> int:
    return run.curves.read_bytes().count(b"\n") if run.curves.exists() else 0


def _local_openings(run: Run) -> list[dict[str, Any]]:
    text = run.test_openings.read_text("utf-8") if run.test_openings.exists() else None
    return _openings(text, str(run.directory))


def _openings(text: str | None, where: str) -> list[dict[str, Any]]:
    try:
        return [] if text is None else [dict(item) for item in json.loads(text)]
    except (ValueError, TypeError) as error:
        raise RunError(
            f"run {without_secrets(where)}: test_openings.json cannot be read ({error}), so it is"
            " unknown whether the test was opened; restore the file"
        ) from error


def _download(place: Storage, directory: Path, uri: str) -> None:
    directory.mkdir()
    # Who still writes there must not get ahead: what speaks of other files is read before them.
    for name in sorted(place.names(), key=_told_last, reverse=True):
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name:
            raise RunError(
                f"run {without_secrets(uri)}: it holds {name!r}, which would lie outside of the"
                " run; remove it there"
            )
        if not any(part.startswith(".") for part in path.parts):
            place.download(name, directory / name)


def _told_last(name: str) -> int:
    return STATES.index(name) if name in STATES else -1


def _join(fetched: Run, local: Run, *, aside: Path) -> None:
    """Leave at `local` the run that is further, and the longer list of test openings."""
    further, other = (
        (fetched, local) if _num_lines(fetched) > _num_lines(local) else (local, fetched)
    )
    openings = _local_openings(other)
    if len(openings) > len(_local_openings(further)):
        write_text(further.test_openings, other.test_openings.read_text("utf-8"))
        for name in {Path(str(opening.get("directory"))).name for opening in openings}:
            if (other.directory / name).is_dir() and not (further.directory / name).exists():
                shutil.copytree(other.directory / name, further.directory / name)
    if further is fetched:
        local.directory.rename(aside)
        fetched.directory.rename(local.directory)
