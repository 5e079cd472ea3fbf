"""Searches over several hosts: code, shared storage, hosts that leave and join."""

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from tests.cluster.hosts import Host, Hosts, needs_hosts, network
from tests.faults.breaking import SHORT, kill_driver, num_evaluations, wait_until
from tests.faults.s3 import s3_server
from tests.tuning.encoders import save_encoder
from tests.tuning.searching import ROOT, Run, Started, command

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(1200), needs_hosts]

LONGER = [*SHORT, "--training.epochs", "50", "--search.max_concurrent", "4", "--trials", "6"]


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    """A network without a host yet."""
    scratch = Path(tempfile.mkdtemp(prefix="net"))
    try:
        with network(scratch) as found:
            yield found
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@pytest.fixture
def two(hosts: Hosts) -> tuple[Host, Host]:
    """The head and another, a core each."""
    head, other = hosts.add(), hosts.add()
    hosts.start_ray(head, "--num-cpus", "1", is_head=True)
    hosts.start_ray(other, "--num-cpus", "1")
    return head, other


def searching(host: Host, directory: Path, name: str, *arguments: str) -> Started:
    """A search whose driver runs on a host, from a directory without the project."""
    return Started(host.start(*command(directory, name, *arguments), cwd=directory))


def addresses(run: Run) -> set[str]:
    """Of the hosts that trials have run on so far."""
    path = run.directory / "workers.csv"
    return set(pd.read_csv(path)["address"]) if path.exists() else set()


def test_a_search_uses_hosts_that_join_and_outlives_one_that_is_cut_off(
    hosts: Hosts, two: tuple[Host, Host], tmp_path: Path
) -> None:
    head, other = two
    run = Run(directory=tmp_path / "three")
    started = searching(head, tmp_path, "three", *LONGER, "--address", hosts.ray_address)
    wait_until(lambda: addresses(run) == {head.address, other.address}, started)
    workers = pd.read_csv(run.directory / "workers.csv")
    there = workers[workers["address"] == other.address]["trial_id"].iloc[-1]
    wait_until(lambda: num_evaluations(run, there) > 0, started)
    other.cut_off()
    late = hosts.add()
    hosts.start_ray(late, "--num-cpus", "1")
    code, out, err = started.ended()
    assert code == 0, out + err
    workers = pd.read_csv(run.directory / "workers.csv")
    print(workers.to_string())
    assert addresses(run) == {head.address, other.address, late.address}
    assert f"{there} lost its process or node" in out
    assert workers[workers["trial_id"] == there]["address"].iloc[-1] != other.address
    assert run.record["status"] == "completed"
    assert len(run.trials) == 6
    assert not run.trials["status"].isin(["failed", "running"]).any()
    assert not run.curves.duplicated(["trial_id", "examples"]).any()


def test_hosts_that_cannot_train_or_do_not_share_a_directory_are_named_before_anything_starts(
    hosts: Hosts, tmp_path: Path
) -> None:
    head, other, broken = hosts.add(), hosts.add(), hosts.add()
    library = hosts.scratch / "broken" / "transformers"
    library.mkdir(parents=True)
    (library / "__init__.py").write_text("raise ImportError('no such library here')\n")
    broken.environment["PYTHONPATH"] = str(library.parent)
    hosts.start_ray(head, "--num-cpus", "1", is_head=True)
    hosts.start_ray(other, "--num-cpus", "1", hidden=[tmp_path])
    hosts.start_ray(broken, "--num-cpus", "1")
    joined = ["--address", hosts.ray_address]
    for arguments in (["--dry-run"], ["--cluster.storage_path", str(tmp_path / "shared")]):
        ended = head.run(*command(tmp_path / "runs", "refused", *SHORT, *joined, *arguments))
        assert ended.returncode == 2, ended.stdout + ended.stderr
        program, storage = ended.stderr.splitlines()
        assert f"({broken.address}) cannot run trials: " in program
        assert "no such library here" in program
        option = "cluster.storage_path" if len(arguments) > 1 else "output.directory"
        assert f"{option} is" in storage
        assert (
            f"({other.address}): does not see the files that this machine writes there" in storage
        )
        assert f"({head.address})" not in ended.stderr
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


_TOO_SMALL_FOR_TWO_LAYERS = """
import builtins, sys
_import = builtins.__import__
def import_and_limit(name, *arguments, **options):
    found = _import(name, *arguments, **options)
    encoder = getattr(sys.modules.get("training.encoder"), "Encoder", None)
    if encoder is not None and not hasattr(encoder, "builds_anything"):
        encoder.builds_anything = build = encoder.build
        def build_one_layer(self, seed):
            if self.config.num_hidden_layers > 1:
                raise MemoryError("fake: no memory for two layers")
            return build(self, seed)
        encoder.build = build_one_layer
    return found
builtins.__import__ = import_and_limit
"""
"""Fake of a host with little memory, as its `sitecustomize.py`."""


def test_an_encoder_that_one_host_cannot_build_is_named_with_the_host_before_anything_starts(
    hosts: Hosts, tmp_path: Path
) -> None:
    head, small = hosts.add(), hosts.add()
    site = hosts.scratch / "small" / "sitecustomize.py"
    site.parent.mkdir(parents=True)
    site.write_text(_TOO_SMALL_FOR_TWO_LAYERS)
    small.environment["PYTHONPATH"] = str(site.parent)
    hosts.start_ray(head, "--num-cpus", "1", is_head=True)
    hosts.start_ray(small, "--num-cpus", "1")
    encoders = [str(save_encoder(tmp_path / f"layers-{num}", layers=num)) for num in (1, 2)]
    space = {"model": {"choice": encoders}}
    options = [*SHORT, "--model", encoders[0], "--search.space", json.dumps(space)]
    options += ["--address", hosts.ray_address]
    for arguments in (["--dry-run"], []):
        ended = head.run(*command(tmp_path / "runs", "refused", *options, *arguments))
        assert ended.returncode == 2, ended.stdout + ended.stderr
        (line,) = ended.stderr.splitlines()
        assert f"({small.address}) cannot train {encoders[1]!r}: MemoryError: fake" in line
        assert not (tmp_path / "runs" / "refused").exists()


def test_hosts_without_a_shared_disk_search_over_a_storage_and_resume_from_its_uri(
    hosts: Hosts, tmp_path: Path
) -> None:
    head, other = hosts.add(), hosts.add()
    run = Run(directory=tmp_path / "stored")
    with s3_server(f"{hosts.subnet}.254") as server:
        for host in (head, other):
            host.environment.update(server.environment)
        hosts.start_ray(head, "--num-cpus", "1", is_head=True)
        hosts.start_ray(other, "--num-cpus", "1", hidden=[tmp_path])
        server.put("tables/sample.csv", (ROOT / "training" / "sample" / "sample.csv").read_bytes())
        stored = ["--address", hosts.ray_address, "--cluster.storage_path", server.uri]
        stored += ["--data", f"s3://{server.bucket}/tables/sample.csv"]
        started = searching(head, tmp_path, "stored", *LONGER, *stored)
        wait_until(lambda: len(addresses(run)) == 2 and num_evaluations(run, "t0001") > 1, started)
        known = set(run.curves["trial_id"])
        kill_driver(started)
        shutil.rmtree(run.directory)
        uri = f"{server.uri}/stored"
        again = searching(head, tmp_path, "stored", "--resume", uri)
        code, out, err = again.ended()
        assert code == 0, out + err
        assert known <= set(run.curves["trial_id"])
        assert run.record["status"] == "completed"
        assert addresses(run) == {head.address, other.address}
        assert not run.curves.duplicated(["trial_id", "examples"]).any()
        shutil.rmtree(run.directory)
        final = head.start(
            *(sys.executable, "-m", "evaluation.final", "--run", uri, "--gates", "none"),
            cwd=tmp_path,
        )
        out, err = final.communicate()
        assert final.returncode == 0, out + err
        assert "Report " in out
