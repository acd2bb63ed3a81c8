"""SVG elements as escaped markup; every attribute and text goes through `escape`, styling is by class only."""

from __future__ import annotations

from collections.abc import Iterable

from markupsafe import Markup, escape

from onnxbuild.report.names import visible


def element(name: str, *children: Markup | str, **attributes: str | float) -> Markup:
    """Return one element; `_` in attribute names is `-`, a trailing one is dropped (`class_`)."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(visible(_value(value)))}"' for key, value in attributes.items()
    )
    inside = "".join(str(escape(visible(child) if type(child) is str else child)) for child in children)
    return Markup(f"<{name}{written}>{inside}</{name}>" if inside else f"<{name}{written}/>")  # noqa: S704  # escaped


def figure(label: str, height: float, children: Iterable[Markup], *, class_: str = "", detail: str = "") -> Markup:
    """Return a fluid drawing: full width, `height` pixels, named `label` for those who do not see it."""
    parts = [element("title", label), *([element("desc", detail)] if detail else []), *children]
    return element(
        "svg", *parts, class_=f"chart {class_}".strip(), width="100%", height=height, role="img", aria_label=label
    )


def share(value: float) -> str:
    """Return a part of the width, 0 to 1, as a percentage attribute."""
    return f"{_value(min(max(value, 0.0), 1.0) * 100)}%"


def _value(value: str | float) -> str:
    if isinstance(value, str):
        return value
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text
