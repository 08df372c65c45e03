"""Where networks run in training: the device, its mixed precision, and predictions in it."""

from __future__ import annotations

import ctypes
import sys

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mien.errors import MienError
from mien.training.expression.net import normalise, resize


def find_device(name: str) -> str:
    """`cpu` or `cuda`; `auto` is CUDA where there is one. Raises MienError on a device that is not there."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name not in ("cpu", "cuda"):
        raise MienError(f"no device {name!r}; use auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise MienError("this torch finds no CUDA device; use --device cpu, or install a CUDA build of torch")
    return name


def keep_freed_memory() -> None:
    """Let the process reuse the memory of freed tensors instead of giving it back to the system, whose fresh pages cost
    a quarter of the time of a step of `seed`. For the GNU C library; nothing happens elsewhere."""
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            trim_threshold, mmap_max = -1, -4  # parameters of mallopt(3)
            mallopt(mmap_max, 0)
            mallopt(trim_threshold, 2**31 - 1)


def mixed_precision(device: str) -> torch.autocast:
    """bfloat16 where the hardware has it: elsewhere a CPU would fall back to code that is many times slower."""
    kind = torch.device(device).type
    return torch.autocast(kind, torch.bfloat16, enabled=kind != "cpu" or _cpu_has_bfloat16())


def _cpu_has_bfloat16() -> bool:
    return torch._C._has_mkldnn and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


@torch.no_grad()
def look(net: nn.Module, images: Tensor, size: int, device: str) -> Tensor:
    """Label logits `(b, k)` float32, computed in mixed precision, for images `(b, 1, S, S)` in 0..1; all on the
    device."""
    x = normalise(resize(images, size)).contiguous(memory_format=torch.channels_last)
    with mixed_precision(device):
        logits: Tensor = net(x)[0]
    return logits.float()


def predict_logits(net: nn.Module, images: NDArray[np.uint8], size: int, device: str) -> Tensor:
    """Label logits `(n, 7)` float32 on the CPU for grey uint8 crops `(n, S, S)`, in mixed precision."""
    out = []
    for first in range(0, len(images), 512):
        crops = torch.from_numpy(images[first : first + 512]).to(device)
        out.append(look(net, crops.unsqueeze(1).float() / 255, size, device).cpu())
    return torch.cat(out)
