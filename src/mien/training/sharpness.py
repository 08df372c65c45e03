"""Sharpness-aware minimisation: weights are sought whose neighbours are good as well (Foret et al. 2021)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

SHARE = 0.25
"""Of a batch that tells which way is up: a quarter does as well as the whole (Bahri, Mobahi and Tay 2022)."""


class Climb:
    """Takes a network's gradients a step of length `rho` uphill.

    Between `up` and the backward pass the weights are the highest point of their neighbourhood as a part of the batch
    sees it; each goes back to where it was, to the bit, as soon as it has its gradient. The statistics of the batch
    normalisations are taken on the way up only, by the weights that are kept.
    """

    def __init__(self, net: nn.Module, rho: float) -> None:
        self._rho = rho
        self._weights = list(net.parameters())
        self._norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
        self._kept: dict[Tensor, Tensor] = {}
        for weight in self._weights:
            weight.register_post_accumulate_grad_hook(self._back)  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def up(self, loss: Tensor) -> None:
        """Along the gradient of the `loss` of a part of the batch; the backward pass that follows undoes it."""
        gradients = torch.autograd.grad(loss, self._weights)
        length = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        self._kept = {weight: weight.clone() for weight in self._weights}
        for weight, gradient in zip(self._weights, gradients, strict=True):
            weight.add_(gradient * (self._rho / (length + 1e-12)))
        self._count(False)

    @torch.no_grad()
    def _back(self, weight: Tensor) -> None:
        if weight in self._kept:
            weight.copy_(self._kept.pop(weight))
            if not self._kept:
                self._count(True)

    def _count(self, on: bool) -> None:
        for norm in self._norms:
            norm.track_running_stats = on
