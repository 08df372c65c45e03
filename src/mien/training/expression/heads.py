"""What small and large convolutional networks have in common: how the input is enlarged, and both heads."""

from __future__ import annotations

from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from mien.labels import LABELS, VOTE_LABELS
from mien.training.recipe import ModelTable


class TwoHeaded(nn.Module):
    """Grey crops `(n, 1, S, S)`, normalised, to logits `(n, k)` and vote logits `(n, 8)`.

    k is the number of labels, votes are in the order of `VOTE_LABELS`; without a vote head there are only the first,
    and only networks for the seven expressions have one. S may be 16 or more, so training may go from small to large
    sizes; it is enlarged by `table.enlarge` first. A subclass makes its layers, calls `_end`, and has `maps`.
    """

    enlarge: float

    def _end(self, width: int, table: ModelTable, labels: tuple[str, ...]) -> None:
        """Add the heads behind maps of `width` channels, and initialise all convolutions."""
        self.enlarge = table.enlarge
        self.dropout = nn.Dropout(table.dropout)
        self.label_head = nn.Linear(width, len(labels))
        has_votes = table.vote_head and labels == LABELS
        self.vote_head = nn.Linear(width, len(VOTE_LABELS)) if has_votes else None
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def maps(self, x: Tensor) -> Tensor:
        """The last maps `(n, width, h, w)` of crops that are enlarged already."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        if self.enlarge > 1:  # not by `resize`: there is nothing to alias, and ONNX knows no antialiasing
            x = F.interpolate(x, size=round(x.shape[-1] * self.enlarge), mode="bilinear")
        features = self.dropout(self.maps(x).mean((2, 3)))
        logits = cast(Tensor, self.label_head(features))
        return (logits,) if self.vote_head is None else (logits, cast(Tensor, self.vote_head(features)))
