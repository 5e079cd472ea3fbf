"""A real S3 server in a process that can be stopped, continued and killed."""

import os
import signal
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}

_SERVE = """
import sys, time
from moto.moto_server.threaded_moto_server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address=sys.argv[1], port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
time.sleep(3600)
"""


@dataclass(frozen=True, kw_only=True)
class S3Server:
    process: "subprocess.Popen[str]"
    endpoint: str
    bucket: str
    """Unique for each server, because clients keep connections by its name."""

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/runs"

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables that clients need."""
        return {**ENVIRONMENT, "AWS_ENDPOINT_URL": self.endpoint}

    def stop(self) -> None:
        """Make the server hang: it accepts connections and answers nothing."""
        os.kill(self.process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def make_bucket(self) -> None:
        """Create the bucket; a server loses all its data at its end."""
        self.put("", None)

    def put(self, name: str, content: bytes | None) -> None:
        """Put a file into the bucket."""
        where = f"{self.endpoint}/{self.bucket}/{name}".rstrip("/")
        kind = {"Content-Type": "application/octet-stream"}
        request = urllib.request.Request(where, method="PUT", data=content, headers=kind)
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.status == 200


@contextmanager
def s3_server(address: str = "127.0.0.1") -> Iterator[S3Server]:
    """Run a server with an empty bucket, for the time of a `with` block."""
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVE, address],
        env={**os.environ, **ENVIRONMENT},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    try:
        with process.stdout as output:
            port = int(output.readline())
        server = S3Server(
            process=process,
            endpoint=f"http://{address}:{port}",
            bucket=f"bucket-{uuid.uuid4().hex[:12]}",
        )
        server.make_bucket()
        yield server
    finally:
        process.kill()  # a stopped process dies of it too
        process.wait()
