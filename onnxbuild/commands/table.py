"""All verbs of the command line; importing this imports none of them."""

from __future__ import annotations

VERBS = {
    "make": "build, prove and deliver targets, and draw the reports",
    "status": "tell what make would do, target by target",
    "explain": "tell why an action would run, or why it last ran",
    "blame": "rank the layers of a pruned or quantised target by what keeping each in float would gain",
    "check": "tell everything that is wrong with the recipes, without running anything",
    "accept": "write what targets came to into the locks beside their recipes",
    "get": "copy a target's model out, also one that failed its gates",
    "repro": "copy out small models that show why a pass was left out",
    "report": "draw the reports from what was built",
    "inspect": "describe a model file",
    "diff": "tell in what two model files, or the locks of two revisions, differ",
    "gc": "remove from the store what nothing needs, what is old and what is beyond its size",
    "store": "verify every byte of the store, or count what is in it",
    "clean": "delete what was built, and the cache with --all",
    "init": "start a project, a recipe from a model file, or a project's CI",
    "schema": "print the JSON schema of recipes",
    "doctor": "tell versions, missing extras and what is wrong with the installation",
    "completion": "print a completion script for bash or zsh",
}
"""Every verb with its one-line help; `onnxbuild/commands/<verb>.py` implements it."""
