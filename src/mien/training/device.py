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

DEVICES = ("auto", "cuda", "mps", "cpu")


def find_device(name: str) -> str:
    """`cuda`, `mps` (Apple's GPU) or `cpu`; `auto` is the first of them that is there.

    Raises MienError on a device that is not there.
    """
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return next(device for device, here in present.items() if here)
    if name not in present:
        raise MienError(f"no device {name!r}; use {', '.join(DEVICES)}")
    if not present[name]:
        remedy = {"cuda": "a CUDA build of torch", "mps": "a Mac with an Apple GPU and its build of torch"}[name]
        raise MienError(f"this torch finds no {name} device; use cpu, or {remedy}")
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
    """bfloat16 on CUDA and on CPUs with AVX-512; float32 elsewhere.

    CPUs without it would fall back to code that is many times slower. On mps bfloat16 depends on the version of macOS,
    and float16 would need its gradients scaled.
    """
    kind = torch.device(device).type
    return torch.autocast(kind, torch.bfloat16, enabled=kind == "cuda" or (kind == "cpu" and _cpu_has_bfloat16()))


def _cpu_has_bfloat16() -> bool:
    available: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return available and torch.backends.cpu.get_cpu_capability() == "AVX512"


@torch.no_grad()
def label_logits(net: nn.Module, images: Tensor, size: int, device: str) -> Tensor:
    """Label logits `(b, k)` float32, computed in mixed precision, of images `(b, 1, S, S)` in 0..1; all on the
    device."""
    x = normalise(resize(images, size)).contiguous(memory_format=torch.channels_last)
    with mixed_precision(device):
        logits: Tensor = net(x)[0]
    return logits.float()


def predict_logits(net: nn.Module, images: NDArray[np.uint8], size: int, device: str) -> Tensor:
    """Label logits `(n, k)` float32 on the CPU, k the network's number of labels, of grey uint8 crops `(n, S, S)`."""
    out = []
    for first in range(0, len(images), 512):
        crops = torch.from_numpy(images[first : first + 512]).to(device)
        out.append(label_logits(net, crops.unsqueeze(1).float() / 255, size, device).cpu())
    return torch.cat(out)
