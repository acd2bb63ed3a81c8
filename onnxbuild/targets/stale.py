"""What lies under `build/` of targets that no recipe has any more; deletes nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from onnxbuild.targets.deliver import is_delivery


def stale_deliveries(
    output: Path, variants: Mapping[str, Collection[str] | None], *, whole: bool = True
) -> Iterator[tuple[str, str]]:
    """Yield recipe and variant of each delivery that belongs to none of `variants`.

    They are by recipe, None where a broken one does not tell. Unless `whole`, only of these recipes.
    """
    folders = sorted(output.glob("*/")) if whole else [output / recipe for recipe in variants]
    for folder in folders:
        known = variants.get(folder.name, ())
        if known is None:
            continue
        for delivery in sorted(folder.glob("*/")):
            if delivery.name not in known and is_delivery(delivery):
                yield folder.name, delivery.name
