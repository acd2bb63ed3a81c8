"""Loaded by every interpreter of a build under test: counts what it does to the file system and kills it all at one.

The file `orders` beside it names a folder and a number. In the folder, `steps` grows by one byte for each step of any
process and `pids` holds one process a line. The number is that of the step, from 0, before which everything is killed;
with -1 the steps are only told, one a line, in `told`. Audit events are raised before the system is asked.
"""

import contextlib
import os
import signal
import sys
from pathlib import Path

STEPS = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


def install(room: str, at: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    steps, pids, told = (os.open(f"{room}/{name}", flags) for name in ("steps", "pids", "told"))

    def note_pid() -> None:
        os.write(pids, f"{os.getpid()}\n".encode())

    def step(event: str, args: tuple[object, ...]) -> None:
        os.write(steps, b".")
        number = os.fstat(steps).st_size - 1
        if at < 0:
            os.write(told, f"{event} {args[0]} {args[1] if len(args) > 1 else ''}\n".encode(errors="replace"))
        elif number >= at:
            kill()

    def is_file(name: object) -> bool:
        return isinstance(name, str) and not name.startswith(("/dev/", "/proc/", room))

    def kill() -> None:
        mine = os.getpid()
        seen: set[int] = set()
        while True:  # until nobody new has come between reading and killing
            others = {int(line) for line in os.pread(reading, 1 << 20, 0).split()} - {mine} - seen
            if not others:
                os.kill(mine, signal.SIGKILL)
            for pid in others:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            seen |= others

    def hear(event: str, args: tuple[object, ...]) -> None:
        if event in STEPS:
            step(event, args)
        elif event == "open" and isinstance(args[2], int) and args[2] & WRITING and is_file(args[0]):
            step(event, args[:1])

    reading = os.open(f"{room}/pids", os.O_RDONLY)
    note_pid()
    os.register_at_fork(after_in_child=note_pid)
    sys.addaudithook(hear)


# The environment of workers is cut down to a few names, so the folder of this file holds what it has to know.
ORDERS = Path(__file__).with_name("orders")
if ORDERS.exists():
    ROOM, AT = ORDERS.read_text().splitlines()
    install(ROOM, int(AT))
