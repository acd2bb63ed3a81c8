"""The command `onnxbuild`: the stamp first, which knows when there is nothing to do; then the whole command line."""

import os
import sys

from onnxbuild.stamp import answer


def main() -> None:
    """Run one command and leave the process with its exit code."""
    code = answer(sys.argv[1:])
    if code is None:
        import gc

        gc.set_threshold(1_000_000)  # loading and decoding leave no garbage that looking for would pay
        from onnxbuild.cli import main as command_line  # costs ten times as much as a make with nothing to do

        code = command_line()
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except BrokenPipeError:
            pass  # whoever read us is gone
    os._exit(code)  # all is written; taking the interpreter down in order costs more than a make with nothing to do


if __name__ == "__main__":
    main()
