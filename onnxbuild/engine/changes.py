"""What differs between two makings of an action, component by component; knows nothing of what follows from it.

The one place that words a reason: decisions, events, `status` and `explain` all say what stands here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from onnxbuild.store.traces import Component, Discovered, Trace


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the manifest, or one discovered input, that is not what it was.

    `component` is its label; `name` the file, folder, package, variable or action that the value comes from. A value
    of None is absent. `text` says it in words.
    """

    component: str
    name: str
    old: str | None
    new: str | None
    text: str


def manifest_changes(old: Sequence[Component], new: Sequence[Component]) -> list[Change]:
    """Return the lines in which two manifests differ, in the order of the new one."""
    before = {line.label: line for line in old}
    now = {line.label: line for line in new}
    return [
        _line_change(label, before.get(label), now.get(label))
        for label in dict.fromkeys([*now, *before])
        if _value(before.get(label)) != _value(now.get(label))
    ]


def discovered_changes(old: Iterable[Discovered], now: Callable[[Discovered], str | None]) -> list[Change]:
    """Return which discovered inputs are not what they were; `now` returns the digest or version of today."""
    changes = []
    for found in old:
        value = now(found) or ""
        if value != found.digest:
            changes.append(_discovered_change(found, value))
    return changes


def changes_since(old: Trace, new: Trace) -> list[Change]:
    """Return what differs between two makings that are both over."""
    after: Mapping[tuple[str, str], Discovered] = {(one.kind, one.name): one for one in new.discovered}

    def then(one: Discovered) -> str | None:
        same = after.get((one.kind, one.name))
        return same.digest if same is not None else one.digest

    return [*manifest_changes(old.manifest, new.manifest), *discovered_changes(old.discovered, then)]


def _line_change(label: str, old: Component | None, new: Component | None) -> Change:
    kind, _, name = label.partition(" ")
    note = (new or old or Component("", "")).note
    before, now = _value(old), _value(new)
    match kind:
        case "file":
            text = f"input {note} changed"
        case "input":
            text = f"{note} delivered {'other' if name.endswith('s') else 'another'} {name.replace('_', ' ')}"
        case "version":
            text = f"the stage's own version rose from {_shown(before)} to {_shown(now)}"
        case "hardware":
            text = _hardware_text(before or "", now or "")
        case "cores":
            text = f"{_shown(now)} core{'s' if now != '1' else ''} may be used, not {_shown(before)}"
        case _:
            text = _value_text(label, before, now)
    return Change(component=label, name=note or name, old=before, new=now, text=text)


def _value_text(label: str, old: str | None, new: str | None) -> str:
    """Say what a value was and is; of a list of named things, only what differs."""
    was, now = _by_name(old), _by_name(new)
    if not was or not now:
        return f"{label} changed from {_shown(old)} to {_shown(new)}"
    gone = [f"{name} is gone" for name in was if name not in now]
    come = [f"{name} is new" for name in now if name not in was]
    other = [
        f"{name}.{key} changed from {_json(was[name].get(key))} to {_json(now[name].get(key))}"
        for name in now
        if name in was
        for key in dict.fromkeys((*now[name], *was[name]))
        if was[name].get(key) != now[name].get(key)
    ]
    return f"{label}: {', '.join((*gone, *come, *other)) or 'another order'}"


def _by_name(value: str | None) -> dict[str, dict[str, object]]:
    """Return the entries of a JSON list by their names, none where it is not a list of things with a name."""
    if value is None or not value.startswith('[{"'):
        return {}
    entries = msgspec.json.decode(value)
    named = all(isinstance(entry, dict) and isinstance(entry.get("name"), str) for entry in entries)
    return {entry["name"]: entry for entry in entries} if named else {}


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _hardware_text(old: str, new: str) -> str:
    """Say what of a hardware class differs: whether there is one, the model, or else the instruction sets."""
    if not old or not new:
        return "what it delivers now depends on the CPU" if new else "what it delivers no longer depends on the CPU"
    (was, _, had), (model, _, has) = old.partition("; "), new.partition("; ")
    if was != model:
        return f"the CPU is another: {_shown(model or None)}, not {_shown(was or None)}"
    gone, come = sorted({*had.split()} - {*has.split()}), sorted({*has.split()} - {*had.split()})
    parts = [f"without {' '.join(gone)}"] * bool(gone) + [f"with {' '.join(come)}"] * bool(come)
    return f"the CPU has other instruction sets: {' and '.join(parts)}"


def _discovered_change(found: Discovered, value: str) -> Change:
    match found.kind:
        case "absent":
            text = f"input {found.name} is there now"
        case "package":
            text = f"package {found.name} is no longer {found.digest}"
        case "place":
            text = f"the folder {found.name}/ is gone"
        case "folder":
            text = f"the files in {found.name}/ are others"
        case _:
            text = f"input {found.name} changed"
    component = f"discovered {found.kind}"
    return Change(component=component, name=found.name, old=found.digest or None, new=value or None, text=text)


def _value(line: Component | None) -> str | None:
    return None if line is None else line.value


def _shown(value: str | None) -> str:
    return "nothing" if value is None else value
