"""SVG elements as escaped markup; every attribute and text goes through `escape`, styling is by class only."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence

from markupsafe import Markup, escape

from onnxbuild.report.names import visible


def element(name: str, *children: Markup | str, **attributes: str | float) -> Markup:
    """Return one element; `_` in attribute names is `-`, a trailing one is dropped (`class_`)."""
    written = [f"<{name}"]
    for key, value in attributes.items():
        text = escape(visible(value)) if isinstance(value, str) else _number(value)
        written.append(f' {_attribute(key)}="{text}"')
    if not children:
        return Markup("".join([*written, "/>"]))  # noqa: S704  # escaped above
    inside = [str(child) if isinstance(child, Markup) else str(escape(visible(child))) for child in children]
    return Markup("".join([*written, ">", *inside, f"</{name}>"]))  # noqa: S704  # escaped above


@functools.cache
def _attribute(key: str) -> str:
    return key.rstrip("_").replace("_", "-")


def figure(label: str, height: float, children: Iterable[Markup], *, class_: str = "", detail: str = "") -> Markup:
    """Return a fluid drawing: full width, `height` pixels, named `label` for those who do not see it."""
    parts = [element("title", label), *([element("desc", detail)] if detail else []), *children]
    return element(
        "svg", *parts, class_=f"chart {class_}".strip(), width="100%", height=height, role="img", aria_label=label
    )


def share(value: float) -> str:
    """Return a part of the width, 0 to 1, as a percentage attribute."""
    return f"{_number(min(max(value, 0.0), 1.0) * 100)}%"


def _number(value: float) -> str:
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def route(points: Sequence[tuple[float, float]], *, across: bool = False) -> str:
    """Return the path of an edge that is straight and bends in turns; it leaves layers downwards, `across` sideways."""
    x, y = points[0]
    parts = [f"M{_number(x)} {_number(y)}"]
    for at, (x, y) in enumerate(points[1:]):
        before = points[at]
        if at % 2 == 0:
            parts.append(f"L{_number(x)} {_number(y)}" if (x, y) != before else "")
        elif across:
            middle = _number((before[0] + x) / 2)
            parts.append(f"C{middle} {_number(before[1])} {middle} {_number(y)} {_number(x)} {_number(y)}")
        else:
            middle = _number((before[1] + y) / 2)
            parts.append(f"C{_number(before[0])} {middle} {_number(x)} {middle} {_number(x)} {_number(y)}")
    return "".join(parts)
