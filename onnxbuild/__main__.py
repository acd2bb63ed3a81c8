"""`python -m onnxbuild` is the command `onnxbuild`."""

import sys

from onnxbuild.cli import main

sys.exit(main())
