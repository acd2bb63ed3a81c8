"""Loaded by every interpreter of a build under test: counts what it does to the file system and kills it all at one.

TORTURE_ROOM is a folder; `steps` in it grows by one byte for each step of any process, `pids` holds one process a line.
TORTURE_AT is the number of the step, from 0, before which everything is killed; without it the steps are only told,
one a line, in `told`. Audit events are raised before the system is asked.
"""

import os
import signal
import sys

STEPS = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


def install(room: str, at: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    steps, pids, told = (os.open(f"{room}/{name}", flags) for name in ("steps", "pids", "told"))
    names = {steps, pids, told}

    def note_pid() -> None:
        os.write(pids, f"{os.getpid()}\n".encode())

    def step(event: str, args: tuple[object, ...]) -> None:
        os.write(steps, b".")
        number = os.fstat(steps).st_size - 1
        if at < 0:
            os.write(told, f"{event} {args[0]} {args[1] if len(args) > 1 else ''}\n".encode(errors="replace"))
        elif number >= at:
            kill()

    def kill() -> None:
        mine = os.getpid()
        seen: set[int] = set()
        while True:  # until nobody new has come between reading and killing
            others = {int(line) for line in os.pread(reading, 1 << 20, 0).split()} - {mine} - seen
            if not others:
                os.kill(mine, signal.SIGKILL)
            for pid in others:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            seen |= others

    def hear(event: str, args: tuple[object, ...]) -> None:
        if event in STEPS:
            step(event, args)
        elif event == "open" and isinstance(args[2], int) and args[2] & WRITING and not isinstance(args[0], int):
            if not str(args[0]).startswith(("/dev/", "/proc/", room)):
                step(event, args[:1])

    reading = os.open(f"{room}/pids", os.O_RDONLY)
    assert names
    note_pid()
    os.register_at_fork(after_in_child=note_pid)
    sys.addaudithook(hear)


# The environment of workers is cut down to a few names, so the folder of this file holds what it has to know.
try:
    with open(os.path.join(os.path.dirname(__file__), "orders")) as file:
        room_, at_ = file.read().splitlines()
    install(room_, int(at_))
except FileNotFoundError:
    pass
