"""The command `onnxbuild`: the stamp first, which knows when there is nothing to do; then the whole command line."""

import sys

from onnxbuild.stamp import answer


def main() -> int:
    """Run one command and return its exit code."""
    code = answer(sys.argv[1:])
    if code is None:
        from onnxbuild.cli import main as command_line  # costs ten times as much as a make with nothing to do

        code = command_line()
    return code


if __name__ == "__main__":
    sys.exit(main())
