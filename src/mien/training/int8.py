"""Exported networks as int8, their ranges found by running them on examples."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx
from numpy.typing import NDArray


def to_int8(
    weights: bytes, batches: Iterable[NDArray[Any]], *, nodes: Callable[[onnx.GraphProto], list[str]] | None = None,
    reduce_range: bool = False,
) -> bytes:  # fmt: skip
    """A float32 ONNX network of one input as int8 (quantise-dequantise form), statically, weights by channel.

    `batches` are inputs as it takes them. `nodes` names those of the graph that change (None: all that can). With
    `reduce_range` weights have 7 bits, whose products no processor without VNNI cuts off.
    """
    from onnxruntime.quantization import QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with TemporaryDirectory() as folder, _quiet():
        full, ready, made = (Path(folder) / f"{stage}.onnx" for stage in ("full", "ready", "int8"))
        full.write_bytes(weights)
        quant_pre_process(full, ready, skip_symbolic_shape=True)
        graph = onnx.load(str(ready)).graph
        quantize_static(
            ready, made, _Examples(batches, graph.input[0].name), per_channel=True, reduce_range=reduce_range,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
            nodes_to_quantize=nodes(graph) if nodes else None,
        )  # fmt: skip
        return made.read_bytes()


class _Examples:
    """Network inputs, one after the other, as onnxruntime's calibration asks for them."""

    def __init__(self, batches: Iterable[NDArray[Any]], name: str) -> None:
        self._batches, self._name = iter(batches), name

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        batch = next(self._batches, None)
        return None if batch is None else {self._name: batch}


@contextmanager
def _quiet() -> Iterator[None]:
    """The quantiser logs its advice on the root logger, whatever was done."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
