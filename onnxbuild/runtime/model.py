"""A delivered model, opened as it was measured: checked calls, many rows in batches, no silent fall-back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from onnxbuild.runtime.batches import PIECES, Arrays, Batch, Cutter, join
from onnxbuild.runtime.errors import InputError, PackageError, ProviderError
from onnxbuild.runtime.inputs import STRING, Inputs
from onnxbuild.runtime.options import session_options
from onnxbuild.runtime.package import Package, Value, read_package, verify_files
from onnxbuild.runtime.providers import HINT, open_session, short_name


def load(
    folder: str | Path,
    *,
    provider: str | None = None,
    allow_fallback: bool = False,
    low_memory: bool = False,
    verify: bool = False,
    compiled: bool = True,
) -> Model:
    """Open the package in `folder`, such as "build/digits-cnn/int8", with the session configuration it was proved with.

    `provider` is the manifest's first by default, else a recipe's name or ONNX Runtime's own; another one that computes
    instead is an error unless `allow_fallback`. `low_memory` turns arena, memory pattern and prepacking off. `verify`
    reads every file and compares its SHA-256. Where the provider compiled the model ahead, that file is opened, because
    it is the one that was measured; `compiled=False` opens the model that the provider then compiles itself. Raises
    PackageError and ProviderError.
    """
    package = read_package(Path(folder))
    if verify:
        verify_files(package)
    wanted = short_name(provider) if provider is not None else package.manifest["providers"][0]
    settings = package.manifest.get("provider_options", {}).get(wanted, {})
    made = package.compiled_for(wanted) if compiled else None
    model = package.model if made is None else package.folder / made["file"]

    def options(file: str) -> ort.SessionOptions:
        size = package.bytes_of(Path(file).name)
        return session_options(package.manifest["session"], size, low_memory=low_memory)

    fallback = str(package.model) if allow_fallback else None  # the CPU cannot run what another provider compiled
    try:
        session = open_session(str(model), options, wanted, settings, fallback=fallback)
    except ProviderError:
        raise
    except Exception as error:  # ONNX Runtime raises a dozen unrelated types
        if not model.is_file():
            raise PackageError(f"ONNX Runtime does not open {model}: it was delivered and is not there") from None
        if made is not None:
            raise PackageError(_refused(model, wanted, made, settings, error)) from error
        if wanted != "cpu":
            raise ProviderError(f"'{wanted}' does not open {package.model}: {error}; {HINT}") from error
        raise PackageError(f"ONNX Runtime does not open {package.model}: {error}") from error
    return Model(package, session)


def _refused(file: Path, provider: str, made: Mapping[str, Any], settings: Mapping[str, str], error: Exception) -> str:
    sdk = f", version {made['sdk']}" if made["sdk"] else ""
    told = f", with {', '.join(f'{name} {value}' for name, value in settings.items())}," if settings else ""
    return (
        f"'{provider}' does not open {file}, which was compiled for {made['device']}{sdk}{told} on {made['tied_to']}: "
        f"{error}; load(..., compiled=False) has it compile the model here"
    )


class Model:
    """A session with a package's own contract; safe to call from several threads.

    `session` is ONNX Runtime's own, for what this class does not do.
    """

    def __init__(self, package: Package, session: ort.InferenceSession) -> None:
        self.package = package
        self.session = session
        self._inputs = Inputs(package.inputs, package.axes)
        self._outputs = [value.name for value in package.outputs]
        self._binds = all(value.dtype != STRING for value in (*package.inputs, *package.outputs))
        self._pads_soundly = False

    @property
    def inputs(self) -> tuple[Value, ...]:
        """The inputs in the model's order."""
        return self.package.inputs

    @property
    def outputs(self) -> tuple[Value, ...]:
        """The outputs in the model's order."""
        return self.package.outputs

    @property
    def provider(self) -> str:
        """ONNX Runtime's name of the provider that the session got."""
        name: str = self.session.get_providers()[0]
        return name

    def run(self, inputs: Arrays | None = None, /, **named: np.ndarray) -> dict[str, np.ndarray]:
        """Run one call, given as a mapping or by keyword, and return the outputs by name. Raises InputError."""
        call = inputs if inputs is not None else {}
        if named and isinstance(call, Mapping):
            call = {**call, **named}
        self._inputs.check(call)
        return dict(zip(self._outputs, self.session.run(self._outputs, call), strict=True))

    def run_batches(
        self, inputs: Arrays | Iterable[Arrays], /, *, double_buffer: bool = False
    ) -> dict[str, np.ndarray]:
        """Run any number of rows, as arrays or as an iterable of pieces of them, and return all rows' outputs.

        Rows are split at the batch axis's maximum, so that they must not influence each other. Where its minimum or
        `multiple_of` asks for more rows than there are, copies of the last row fill up; the first time other rows are
        tried as well, and a model whose results depend on them is refused. `double_buffer` brings one batch to the
        device while the one before it computes. Raises InputError.
        """
        cutter = Cutter(self.inputs, self.outputs, self.package.axes)
        if not isinstance(inputs, Iterable):
            raise InputError(f"the rows are a {type(inputs).__name__}, expected {PIECES}")
        pieces = [inputs] if isinstance(inputs, Mapping) else inputs
        batches = self._checked(cutter, pieces)
        parts = [
            [array[: batch.rows] for array in arrays]
            for batch, arrays in (self._overlapping(batches) if double_buffer else self._in_turn(batches))
        ]
        if not parts:
            raise InputError("there is no piece to run")
        return join(self.outputs, parts)

    def _checked(self, cutter: Cutter, pieces: Iterable[Arrays]) -> Iterator[Batch]:
        for batch in cutter.batches(pieces):
            self._inputs.check(batch.call)
            if batch.rows and batch.is_padded and not self._pads_soundly:
                self._try_padding(batch, cutter.refilled(batch))
            yield batch

    def _try_padding(self, batch: Batch, other: Batch) -> None:
        """Raise InputError when the rows that were added change the results of those that count."""
        pairs = zip(self._outputs, self._run(batch.call), self._run(other.call), strict=True)
        for name, array, again in pairs:
            if not _is_close(array[: batch.rows], again[: batch.rows]):
                raise InputError(
                    f"{batch.rows} rows are fewer than the model takes, and rows cannot be added: those of '{name}' "
                    "depend on the others of their batch"
                )
        self._pads_soundly = True

    def _run(self, call: Arrays) -> Sequence[np.ndarray]:
        outputs: Sequence[np.ndarray] = self.session.run(self._outputs, call)
        return outputs

    def _in_turn(self, batches: Iterator[Batch]) -> Iterator[tuple[Batch, Sequence[np.ndarray]]]:
        for batch in batches:
            yield batch, self._run(batch.call)

    def _overlapping(self, batches: Iterator[Batch]) -> Iterator[tuple[Batch, Sequence[np.ndarray]]]:
        """Compute in a thread of its own; meanwhile the next batch is made and brought to the device.

        Batches are copied, because who makes the next piece may do so in the arrays of the one before.
        """
        with ThreadPoolExecutor(1, "onnxbuild-runtime") as thread:
            before: tuple[Batch, Future[Sequence[np.ndarray]]] | None = None
            for shared in batches:
                batch = Batch({name: np.array(array) for name, array in shared.call.items()}, shared.rows)
                ready = self._bind(batch) if self._binds else None
                if before is not None:
                    yield before[0], before[1].result()
                before = batch, thread.submit(self._compute, batch, ready)
            if before is not None:
                yield before[0], before[1].result()

    def _bind(self, batch: Batch) -> ort.IOBinding:
        binding = self.session.io_binding()
        for name, array in batch.call.items():
            binding.bind_cpu_input(name, np.ascontiguousarray(array))
        for name in self._outputs:
            binding.bind_output(name)
        binding.synchronize_inputs()
        return binding

    def _compute(self, batch: Batch, binding: ort.IOBinding | None) -> Sequence[np.ndarray]:
        if binding is None:
            return self._run(batch.call)  # strings cannot be bound
        self.session.run_with_iobinding(binding)
        outputs: Sequence[np.ndarray] = binding.copy_outputs_to_cpu()
        return outputs


def _is_close(array: np.ndarray, other: np.ndarray) -> bool:
    if array.dtype.kind in "fc":
        return bool(np.allclose(array, other, rtol=1e-5, atol=1e-6, equal_nan=True))
    return bool(np.array_equal(array, other))
