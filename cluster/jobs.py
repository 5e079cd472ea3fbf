"""Commands of ours as jobs of a Ray cluster, by Ray's own job API over HTTP."""

import asyncio
import os
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ray.exceptions import RayError
from ray.job_submission import JobStatus, JobSubmissionClient

from cluster.code import packages_to_send
from cluster.errors import ClusterError

_STOPS_WITHIN_S = 20
"""A search writes its checkpoints and ends within ten seconds; Ray's own patience is three."""

_SECONDS_BETWEEN_LOOKS = 0.5
_MOST_RECONNECTS = 6
_FAILURES = (RayError, RuntimeError, ValueError, OSError)


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a job ended."""

    status: str
    exit_code: int
    """Of its command; 143 for one that was stopped."""


class Jobs:
    """The jobs of one cluster."""

    def __init__(self, head: str) -> None:
        """Connect.

        Args:
            head: URL of the dashboard.

        Raises:
            ClusterError: it does not answer, or wants another token.
        """
        self.head = head
        # Ray lets both go before what it is given.
        os.environ["RAY_API_SERVER_ADDRESS"] = head
        os.environ.pop("RAY_ADDRESS", None)
        self._client: Any = self._asked(lambda: JobSubmissionClient(head))

    def submit(self, command: Sequence[str], *, name: str, gpus: float) -> str:
        """Start a command with the program as it is here; return the job's id.

        Args:
            command: run on the head node, or on one with GPUs if it asks for some.
            name: of the run, shown in the dashboard.
            gpus: that the command itself uses, not its trials.

        Raises:
            ClusterError: the cluster refuses it.
        """
        with packages_to_send() as modules:
            job_id: str = self._asked(
                lambda: self._client.submit_job(
                    entrypoint=shlex.join(command),
                    runtime_env={
                        "py_modules": modules,
                        "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(_STOPS_WITHIN_S)},
                    },
                    metadata={"run": name, "command": shlex.join(command)},
                    entrypoint_num_gpus=gpus or None,
                )
            )
        return job_id

    def follow(self, job_id: str, show: Callable[[str], None]) -> Ended:
        """Show what a job prints, from its beginning on, until it has ended.

        Raises:
            ClusterError: there is no such job, or the cluster is gone.
        """
        shown = 0

        async def tail() -> None:
            nonlocal shown
            passed = 0  # of what was shown before the connection was lost
            async for text in self._client.tail_job_logs(job_id):
                new = text[max(shown - passed, 0) :]
                passed += len(text)
                shown = max(shown, passed)
                if new:
                    show(new)

        for number in range(_MOST_RECONNECTS):
            try:
                asyncio.run(tail())
                if self._status(job_id).is_terminal():
                    return self._ended(job_id)
            except Exception:  # aiohttp's own among them, which the dashboard's package brings
                if not shown:  # there is no such job, or no cluster
                    self._status(job_id)
            time.sleep(number)
        raise ClusterError(
            f"the connection to job {job_id} was lost {_MOST_RECONNECTS} times; the job goes on:"
            f" python -m cluster.submit --head {self.head} --follow {job_id}"
        )

    def stop(self, job_id: str) -> Ended:
        """Have a job end as by SIGTERM, and wait until it has.

        Raises:
            ClusterError: there is no such job, or it does not end.
        """
        self._asked(lambda: self._client.stop_job(job_id))
        deadline = time.monotonic() + 2 * _STOPS_WITHIN_S
        while not self._status(job_id).is_terminal():
            if time.monotonic() > deadline:
                raise ClusterError(f"job {job_id} has not ended; see it in {self.head}")
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        return self._ended(job_id)

    def _status(self, job_id: str) -> JobStatus:
        status: JobStatus = self._asked(lambda: self._client.get_job_status(job_id))
        return status

    def _ended(self, job_id: str) -> Ended:
        info = self._asked(lambda: self._client.get_job_info(job_id))
        codes = {JobStatus.SUCCEEDED: 0, JobStatus.STOPPED: 143}
        code = codes.get(info.status, info.driver_exit_code or 1)
        return Ended(status=str(info.status), exit_code=code if 0 <= code < 256 else 1)

    def _asked(self, request: Callable[[], Any]) -> Any:
        try:
            return request()
        except _FAILURES as error:
            reason = " ".join(str(error).split())[:300]
            raise ClusterError(
                f"the cluster at {self.head} does not do that ({reason}); check --head, the"
                " dashboard's URL, and its token: ~/.ray/auth_token and RAY_AUTH_MODE=token"
            ) from error
