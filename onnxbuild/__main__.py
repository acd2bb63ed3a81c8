"""The command `onnxbuild`: the stamp first, which knows when there is nothing to do; then the whole command line."""

import os
import sys

from onnxbuild.stamp import answer


def main() -> None:
    """Run one command and leave the process with its exit code."""
    code = answer(sys.argv[1:])
    if code is not None:
        os._exit(code)  # all is written; taking the interpreter down in order costs more than the whole answer
    from onnxbuild.cli import main as command_line  # costs ten times as much as a make with nothing to do

    sys.exit(command_line())


if __name__ == "__main__":
    main()
