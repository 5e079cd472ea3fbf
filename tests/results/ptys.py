"""Commands in a pseudo-terminal, and what they write to it."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass
class Terminal:
    """A command whose output is a terminal."""

    process: subprocess.Popen[bytes]
    written: bytearray = field(default_factory=bytearray)

    @property
    def text(self) -> str:
        return self.written.decode("utf-8", errors="replace")

    @property
    def plain(self) -> str:
        """The text without escape sequences for colours and the cursor."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.text)

    def read_until_closed(self, descriptor: int) -> None:
        while True:
            try:
                found = os.read(descriptor, 65536)
            except OSError:  # on Linux the other side is closed
                return
            if not found:
                return
            self.written += found


def open_terminal(command: Sequence[str], *, columns: int = 80, **variables: str) -> Terminal:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment | {"TERM": "xterm-256color", **variables},
        start_new_session=True,
    )
    os.close(theirs)
    found = Terminal(process)
    threading.Thread(target=found.read_until_closed, args=(ours,), daemon=True).start()
    return found
