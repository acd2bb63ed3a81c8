"""ONNX Runtime's assignment record, profile and log as facts; opens no session and knows no limit."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from onnxbuild.ort.facts import Assignment, FellBack, Placed, Profile

RECORD = "session.record_ep_graph_assignment_info"
"""The session setting without which there is no assignment record."""

FELL_BACK_CAP = 50
COPY = re.compile(r"^Memcpy(To|From)Host$")


class Node(Protocol):
    """A node as the assignment record names it (onnxruntime.OrtEpAssignedNode)."""

    domain: str
    op_type: str
    name: str


class Part(Protocol):
    """Nodes that a provider took together, one or more (onnxruntime.OrtEpAssignedSubgraph)."""

    ep_name: str

    def get_nodes(self) -> Sequence[Node]:
        """Return the nodes."""


def read_assignment(record: Iterable[Part], asked: str, log: str = "") -> Assignment:
    """Return where the nodes of `record` went; `asked` is the full name of the provider that was asked for.

    Reasons come from `log`, what the runtime said with verbose logging while it placed them.
    """
    nodes = [(part.ep_name, node) for part in record for node in part.get_nodes()]
    providers = dict.fromkeys([asked, *(provider for provider, _ in nodes)])
    operators: dict[str, Counter[str]] = {provider: Counter() for provider in providers}
    for provider, node in nodes:
        operators[provider][_operator(node)] += 1
    reasons = read_reasons(log)
    general = general_reason(log)
    back = [
        FellBack(
            node=node.name,
            operator=_operator(node),
            provider=provider,
            reason=reasons.get(node.name) or general,
        )
        for provider, node in nodes
        if provider != asked
    ]
    return Assignment(
        placed=tuple(
            Placed(provider=provider, nodes=count.total(), operators=dict(sorted(count.items())))
            for provider, count in operators.items()
        ),
        fell_back=tuple(back[:FELL_BACK_CAP]),
        fell_back_count=len(back),
    )


def _operator(node: Node) -> str:
    return f"{node.domain}.{node.op_type}" if node.domain not in ("", "ai.onnx") else node.op_type


_REASONS = (
    (re.compile(r"(\w+) kernel not found in registries for Op type: (\S+) node name: (\S*)"),
     lambda m: (m[3], f"{m[1]} has no kernel for {m[2]} with these types")),
    (re.compile(r"Force fallback to CPU execution for node: (\S+) because (.+?)\.?\s*$", re.M),
     lambda m: (m[1], m[2])),
    (re.compile(r"Op type: (\S+) (?:with )?node name: (\S+) .*?(?:not supported|unsupported)[^\n]*"),
     lambda m: (m[2], f"{m[1]} is not supported")),
    (re.compile(r"Operator type: \S+ Node name: (\S+) Node index: \d+\s+REASON : ([^\n\x1b]+)"),
     lambda m: (m[1], m[2].strip().rstrip("."))),
)  # fmt: skip
"""Lines of the log that say of a node why it went elsewhere: the pattern, and what it says of which node."""

_GENERAL = re.compile(
    r"GetCapability\(\) for \S+ failed with error: (?:\[ONNXRuntimeError\] : \d+ : \w+ : )?([^\n\x1b]+)"
)


def read_reasons(log: str) -> dict[str, str]:
    """Return what the log says of nodes that went elsewhere, by node name."""
    return {node: reason for pattern, read in _REASONS for node, reason in map(read, pattern.finditer(log)) if node}


def general_reason(log: str) -> str | None:
    """Return why the provider took no node at all, where the log says so."""
    found = _GENERAL.search(log)
    return re.sub(r"\s+", " ", found[1]).strip() if found is not None else None


def read_profile(events: Sequence[Mapping[str, Any]]) -> Profile:
    """Return what a profile's node events say of kernels, copies and time.

    The first run of a kernel, which loads it onto a device, is not counted where there are more.
    """
    operators: dict[tuple[str, str], str] = {}
    runs: dict[tuple[str, str], list[tuple[str, int]]] = {}
    for event in events:
        arguments = event.get("args") or {}
        if event.get("cat") != "Node" or not str(event.get("name", "")).endswith("_kernel_time"):
            continue
        kernel = (str(event["name"]), str(arguments.get("node_index", "")))
        operators[kernel] = str(arguments.get("op_name", ""))
        runs.setdefault(kernel, []).append((str(arguments.get("provider", "")), int(event.get("dur", 0))))
    time: Counter[str] = Counter()
    for taken in runs.values():
        for provider, micros in taken[1:] or taken:
            time[provider] += micros
    whole = time.total()
    return Profile(
        kernels=len(operators),
        copies=sum(COPY.match(operator) is not None for operator in operators.values()),
        time={provider: micros / whole for provider, micros in sorted(time.items())} if whole else {},
    )
