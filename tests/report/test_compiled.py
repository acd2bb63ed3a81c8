"""Compiled models on a page: what is delivered, what it saves, and that a simulator's times are no device's."""

from __future__ import annotations

import msgspec

from onnxbuild.ort.facts import Assignment, Device, Placed
from onnxbuild.proof.timing import Loading
from onnxbuild.report.facts import BenchmarkedProvider, CompiledModel, ProviderAccuracy, ProviderPlacement, ReportFacts
from onnxbuild.report.render import render_recipe
from onnxbuild.report.summary import index_facts, speed_sentence
from onnxbuild.stages.compile import CompileFacts
from onnxbuild.stages.place import PlaceFacts
from tests.report.page_text import visible_text
from tests.report.sample import report
from tests.report.test_latency import measured

QNN = "QNNExecutionProvider"
NPU = Device(kind="NPU", vendor="Qualcomm", name="Hexagon")
SIMULATOR = Device(kind="CPU", vendor="AMD", name="a simulator", simulated=True)


def compiled(device: Device) -> ReportFacts:
    """The measured report, its second variant compiled for qnn and timed there too."""
    facts = measured()
    own = facts.targets[1]
    timed = msgspec.structs.replace(
        own.benchmarks[0].facts,
        loading=Loading(cold=4.0, warm=1.0, first=0.5),
        plain_loading=Loading(cold=77.0, warm=50.0, first=0.5),
    )
    assignment = Assignment(placed=(Placed(provider=QNN, nodes=6), Placed(provider="CPUExecutionProvider", nodes=1)))
    placed = PlaceFacts(asked=QNN, got=(QNN,), devices=(device,), model_nodes=7, assignment=assignment)
    made = CompileFacts(asked=QNN, devices=(device,), parts=2, left={"Softmax": 1}, bytes=50_000, sdk=("v2.51",))
    assert own.versus is not None
    own = msgspec.structs.replace(
        own,
        placements=(ProviderPlacement("qnn", placed),),
        compiled=(CompiledModel("qnn", made, "model.qnn.onnx"),),
        benchmarks=(BenchmarkedProvider("qnn", timed),),
        versus=msgspec.structs.replace(own.versus, provider="qnn"),
    )
    return msgspec.structs.replace(facts, targets=(facts.targets[0], own))


def test_what_is_delivered_and_what_it_saves() -> None:
    text = " ".join(visible_text(render_recipe(compiled(NPU))).split())
    assert "qnn v2.51 | model.qnn.onnx | 50 kB | 2 | Softmax 1 | 4 ms again 1 ms | 77 ms again 50 ms" in text
    assert "simulator" not in text


def test_what_is_not_delivered_says_why() -> None:
    facts = compiled(NPU)
    kept = msgspec.structs.replace(facts.targets[1].compiled[0], file=None)
    failed = msgspec.structs.replace(facts.targets[1], compiled=(kept,))
    page = render_recipe(msgspec.structs.replace(facts, targets=(facts.targets[0], failed)))
    assert "qnn v2.51 | nothing the target is not delivered | 50 kB" in " ".join(visible_text(page).split())
    text = " ".join(visible_text(render_recipe(report())).split())
    assert "openvino | nothing onnxruntime-ep-openvino 1.8.1 offers no CPU on this machine" in text
    uncompiled = msgspec.structs.replace(report(), targets=report().targets[:2])
    assert "Compiled models" not in visible_text(render_recipe(uncompiled))


def test_what_a_simulator_computed_is_told_as_its_own_and_after_what_is_real() -> None:
    def both(device: Device) -> ReportFacts:
        facts = compiled(device)
        *before, step = (each for each in facts.targets[1].steps if each.accuracy)
        (real,) = (each for each in step.accuracy if each.provider == "cpu")
        assert real.facts.metric is not None
        worse = msgspec.structs.replace(real.facts, metric=msgspec.structs.replace(real.facts.metric, model=0.125))
        step = msgspec.structs.replace(step, accuracy=(ProviderAccuracy("qnn", worse), real))
        own = msgspec.structs.replace(facts.targets[1], steps=(*before, step))
        return msgspec.structs.replace(facts, targets=(facts.targets[0], own))

    doubt = "That is a simulator, which proves nothing of a device."
    for device, first in ((NPU, True), (SIMULATOR, False)):
        text = " ".join(visible_text(render_recipe(both(device))).split())
        assert (doubt in text) is not first
        assert (index_facts((both(device),)).rows[1].metric_model == 0.125) is first


def test_times_of_a_simulator_are_no_devices() -> None:
    text = " ".join(visible_text(render_recipe(compiled(SIMULATOR))).split())
    assert "6 of 7 nodes run on it, on a simulator, which proves nothing of a device" in text
    doubt = "That is a simulator; no device is as fast or as slow."
    assert f"rounds in turns. {doubt}" in text, "what was measured in turns with another variant"
    assert text.count(doubt) == 2
    assert "qnn batch 8, on a simulator |" in text, "memory"
    assert "qnn on a simulator | 4 ms" in text, "loading"
    for device, latencies, gone in ((NPU, 1, ()), (SIMULATOR, 0, ("qnn",))):
        row = index_facts((compiled(device),)).rows[1]
        assert (len(row.latencies), row.unverified_providers) == (latencies, gone)
        assert (speed_sentence(compiled(device).targets[1]) is None) is bool(gone)
