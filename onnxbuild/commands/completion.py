"""`onnxbuild completion`: a completion script for bash or zsh."""

from __future__ import annotations

import argparse

from onnxbuild.commands.table import VERBS
from onnxbuild.console import Console

EXAMPLES = """\
examples:
  source <(onnxbuild completion bash)      in ~/.bashrc
  source <(onnxbuild completion zsh)       in ~/.zshrc
"""

_BASH = """\
_onnxbuild() {
  local word=${COMP_WORDS[COMP_CWORD]} verb=${COMP_WORDS[1]}
  if [ "$COMP_CWORD" = 1 ]; then
    COMPREPLY=($(compgen -W "@VERBS@" -- "$word"))
  elif [ "$verb" = inspect ]; then
    COMPREPLY=($(compgen -f -- "$word"))
  else
    local names
    names=$(for file in recipes/*.yaml; do [ -e "$file" ] && basename "$file" .yaml; done)
    COMPREPLY=($(compgen -W "$names" -- "$word"))
  fi
}
complete -F _onnxbuild onnxbuild
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("shell", choices=("bash", "zsh"), help="the shell that will read the script")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Print the script and return 0."""
    script = _BASH.replace("@VERBS@", " ".join(VERBS)).rstrip()
    if arguments.shell == "zsh":
        script = f"autoload -U +X bashcompinit && bashcompinit\n{script}"
    console.print(script)
    return 0
