"""The documents for Kubernetes fit a search: its capacity, its retries, its end."""

import os
import re
import shlex
import subprocess
from pathlib import Path

from ray._private.ray_constants import RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S

from cluster.resources import Resources, fits
from results.run import Run
from tests.cluster.documents import ALL_NODES, FOLDER, cluster_of, nodes, read
from tests.cluster.launchers import lint
from tuning.command_line import read_command
from tuning.start import write_configuration


def test_a_node_that_leaves_has_the_time_that_ray_takes() -> None:
    for pod in ALL_NODES:
        seconds = pod["spec"]["terminationGracePeriodSeconds"]
        assert seconds >= RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S + 15


def test_a_stopped_search_has_time_for_its_checkpoints() -> None:
    for name in ("raycluster.yaml", "rayjob.yaml"):
        (container,) = nodes(name)["head"]["spec"]["containers"]
        environment = {item["name"]: item.get("value") for item in container["env"]}
        assert int(environment["RAY_JOB_STOP_WAIT_TIME_S"]) > 10


def test_the_head_runs_no_trial_and_workers_come_and_go() -> None:
    cluster = cluster_of("raycluster.yaml")
    (group,) = cluster["workerGroupSpecs"]
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert cluster["enableInTreeAutoscaling"] is True
    assert group["minReplicas"] == 0 < group["maxReplicas"]
    limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert limits["nvidia.com/gpu"] == "1"
    head = nodes("raycluster.yaml")["head"]["spec"]["containers"][0]["resources"]["limits"]
    assert "nvidia.com/gpu" not in head


def test_every_node_mounts_the_runs_and_memory_for_ray_s_objects() -> None:
    claim = read("volume.yaml")
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    for pod in ALL_NODES:
        volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
        mounts = pod["spec"]["containers"][0]["volumeMounts"]
        placed = {mount["mountPath"]: volumes[mount["name"]] for mount in mounts}
        claimed = placed["/runs"]["persistentVolumeClaim"]["claimName"]
        assert claimed == claim["metadata"]["name"]
        memory = placed["/dev/shm"]["emptyDir"]
        assert memory["medium"] == "Memory"
        assert int(memory["sizeLimit"].removesuffix("Gi")) * 2**30 > 2e9
    cluster = cluster_of("raycluster.yaml")
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        assert group["rayStartParams"]["object-store-memory"] == "2000000000"


def test_a_job_leaves_no_cluster_behind_and_is_tried_again() -> None:
    spec = read("rayjob.yaml")["spec"]
    assert spec["shutdownAfterJobFinishes"] is True
    assert 0 < spec["ttlSecondsAfterFinished"] <= 3600
    assert spec["backoffLimit"] > 0
    assert spec["submitterPodTemplate"]["spec"]["restartPolicy"] == "Never"


def submitted(runs: Path, scratch: Path) -> list[str]:
    """Arguments of the search that the job's entrypoint begins, by way of two shells as KubeRay's.

    Args:
        runs: stands for /runs.
        scratch: gets a `python` that prints its arguments.
    """
    python = scratch / "python"
    python.write_text('#!/bin/bash\nprintf "%s\\n" "$@"\n')
    python.chmod(0o755)
    entrypoint = read("rayjob.yaml")["spec"]["entrypoint"].replace("/runs", str(runs))
    ended = subprocess.run(
        ["bash", "-ce", "--", f"{entrypoint} ;"],
        env={"PATH": f"{scratch}:{os.environ['PATH']}"},
        check=True,
        capture_output=True,
        text=True,
    )
    module, name, *arguments = ended.stdout.splitlines()
    assert (module, name) == ("-m", "tuning.search")
    return arguments


def test_the_job_begins_a_search_and_another_try_goes_on_with_it(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    first = submitted(runs, tmp_path)
    assert "--resume" not in first
    _, run, configuration = read_command(first)
    assert run is None
    started = Run(runs / "first")
    started.directory.mkdir(parents=True)
    write_configuration(started, configuration)
    again = submitted(runs, tmp_path)
    assert again == ["--resume", *first]
    _, found, same = read_command(again)
    assert found == started
    assert same == configuration


def test_the_job_s_search_fills_the_workers(tmp_path: Path) -> None:
    _, _, configuration = read_command(submitted(tmp_path, tmp_path))
    (group,) = cluster_of("rayjob.yaml")["workerGroupSpecs"]
    limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    node = {"CPU": float(limits["cpu"]), "GPU": float(limits["nvidia.com/gpu"])}
    cluster = configuration.cluster
    assert cluster.cpus_per_trial is not None
    assert cluster.gpus_per_trial is not None
    assert 0 < cluster.gpus_per_trial < 1
    trial = Resources(cpus=cluster.cpus_per_trial, gpus=cluster.gpus_per_trial)
    assert configuration.search.max_concurrent == group["maxReplicas"] * fits(node, trial)


def test_shellcheck_finds_nothing_in_the_entrypoint() -> None:
    program, flag, script = shlex.split(read("rayjob.yaml")["spec"]["entrypoint"])
    assert (program, flag) == ("bash", "-c")
    assert lint(script) == ""


def test_options_in_the_head_comment_are_the_search_s() -> None:
    (line,) = re.findall(r"^#  +(--.+)$", (FOLDER / "raycluster.yaml").read_text(), re.MULTILINE)
    read_command(line.split())
