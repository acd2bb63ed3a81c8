"""`onnxbuild gc`: remove from the store what nothing needs, what is old, and what is beyond its size."""

from __future__ import annotations

import argparse
from pathlib import Path

from onnxbuild import api
from onnxbuild.base.codec import encode
from onnxbuild.base.diagnostics import Diagnostic, UserError
from onnxbuild.base.units import format_size, parse_duration, parse_size
from onnxbuild.console import Console
from onnxbuild.recipe.project import find_root
from onnxbuild.store.collection import DAY, Policy, Sweep

EXAMPLES = """\
examples:
  onnxbuild gc -n                      what would go, and why
  onnxbuild gc                         by the standing policy: 50 GB, 90 days
  onnxbuild gc --max-size '2 GB'       a smaller store; what current recipes need stays
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("-n", "--dry-run", action="store_true", help="tell what would go and why; remove nothing")
    parser.add_argument("--max-size", metavar="SIZE", default="50 GB", help="what stays in all (default: 50 GB)")
    parser.add_argument("--max-age", metavar="DAYS", default="90", help="what was used since then stays (default: 90)")
    parser.add_argument(
        "--grace", metavar="TIME", default="1 h", help="what was used or written since then stays (default: 1 h)"
    )
    parser.add_argument("--format", choices=("text", "json"), default="text", help="how to print it")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Collect and return 0."""
    try:
        policy = Policy(parse_size(arguments.max_size), _days(arguments.max_age) * DAY, parse_duration(arguments.grace))
    except ValueError as error:
        raise UserError(Diagnostic(code="policy", message=str(error))) from None
    root = find_root(Path(arguments.directory))
    found = api.collect_garbage(root, policy, dry_run=arguments.dry_run)
    if arguments.format == "json":
        console.print(encode(found.victims).decode())
        return 0
    _print(found, console, dry_run=arguments.dry_run)
    return 0


def _days(text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = -1.0
    if not days >= 0:
        raise ValueError(f"'{text}' is no number of days; write for example 90, or 0.5")
    return days


def _print(found: Sweep, console: Console, *, dry_run: bool) -> None:
    if dry_run or console.verbose:
        for victim in found.victims:
            console.say(f"{victim.kind:8} {victim.name:64} {format_size(victim.size):>8}  {victim.why}")
    records = sum(victim.kind == "record" for victim in found.victims)
    did = "would free" if dry_run else "freed"
    freed, kept = format_size(found.freed_bytes), format_size(found.kept_bytes)
    console.say(f"{did} {freed} in {len(found.victims)} files, {records} of them records; {kept} stay")
