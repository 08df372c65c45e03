"""ONNX Runtime sessions: providers, threads, and one place where they are made."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import ModelError

# ONNX Runtime's wheels report to their maker, and keep a device id, unless told before they are imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime as ort

_PREFERRED = ("CUDAExecutionProvider", "CoreMLExecutionProvider", "CPUExecutionProvider")


def providers() -> list[str]:
    """Execution providers in use, best first: CUDA or CoreML where the installed wheel has them, then CPU."""
    available = ort.get_available_providers()
    return [p for p in _PREFERRED if p in available]


class Session:
    """One network, ready to run from many threads at once; outputs are numpy arrays in the file's order.

    `threads` is the number of threads inside one call (None: all cores but no more than four, beyond which
    networks this small only wait for each other). One that is pickled, for another process, is made anew there. Raises
    ModelError when the bytes are no ONNX network.
    """

    def __init__(self, weights: bytes, name: str, threads: int | None = None) -> None:
        self._made_of = weights, name, threads
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads or min(4, os.cpu_count() or 1)
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        # Spinning threads would take the cores from the caller's own work between two frames.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = ort.InferenceSession(weights, options, providers=providers())
        except Exception as error:  # noqa: BLE001 - onnxruntime's own errors share no public base
            raise ModelError(f"{name} is no ONNX network that can be loaded: {str(error).splitlines()[0]}") from None
        self.input_name: str = self._session.get_inputs()[0].name
        self.input_shape: list[Any] = self._session.get_inputs()[0].shape
        self.output_shapes: list[list[Any]] = [o.shape for o in self._session.get_outputs()]

    def __reduce__(self) -> tuple[Any, ...]:
        return Session, self._made_of

    def run(self, batch: NDArray[np.float32] | NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """All outputs for one input batch."""
        outputs: list[NDArray[np.float32]] = self._session.run(None, {self.input_name: batch})
        return outputs
