"""What ONNX Runtime tells of providers, devices and where nodes went, as recorded values; imports no runtime."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """A device that a provider offers here: its kind is CPU, GPU or NPU; `library` is the provider's own version.

    `simulated`: there is none of its own, and what `name` says stands for it.
    """

    kind: str
    vendor: str
    name: str = ""
    library: str = ""
    simulated: bool = False


def simulator_of(devices: Sequence[Device]) -> str | None:
    """Return what stands for a provider's own device, where nothing else is there; None where there is a device."""
    return devices[0].name if devices and all(device.simulated for device in devices) else None


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    """The nodes that one provider got, by its full name, and how many of each operator."""

    provider: str
    nodes: int
    operators: dict[str, int] = {}


class FellBack(msgspec.Struct, frozen=True, kw_only=True):
    """A node that went elsewhere; `reason` is what the runtime logged about it, None where it said nothing."""

    node: str
    operator: str
    provider: str
    reason: str | None = None


class Assignment(msgspec.Struct, frozen=True, kw_only=True):
    """Which nodes went where, from the runtime's own record, the provider that was asked for first.

    `fell_back` names at most FELL_BACK_CAP of `fell_back_count` nodes.
    """

    placed: tuple[Placed, ...]
    fell_back: tuple[FellBack, ...] = ()
    fell_back_count: int = 0

    @property
    def nodes(self) -> int:
        """How many nodes there were to assign."""
        return sum(placed.nodes for placed in self.placed)

    def got(self, provider: str) -> int:
        """Return how many nodes the provider of this full name got."""
        return sum(placed.nodes for placed in self.placed if placed.provider == provider)


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """What ran in a few calls: kernels after the runtime's fusion, copies between devices among them, and each
    provider's share of the kernels' time (information: no two measurements are equal). It is time of the process: a
    device that computes by itself is waited for in the copies from it, which are its provider's."""

    kernels: int
    copies: int
    time: dict[str, float] = {}
