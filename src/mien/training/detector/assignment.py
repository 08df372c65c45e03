"""Which cells answer for which face, and what their answers cost."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mien.training.detector.net import STRIDES

_REACH = 2.5
"""Cells whose centre is nearer to a face's centre than this many strides may answer for it, however small it is."""
_CANDIDATES = 10
BOX_WEIGHT, LANDMARK_WEIGHT = 2.0, 5.0


@dataclass(frozen=True)
class Truth:
    """The faces of a batch, one row each: `image` (f,) its index in the batch, `boxes` (f, 4) and `landmarks`
    (f, 5, 2) in pixels, NaN where unknown; `ignore` (m, 4) with `ignore_image` (m,) likewise."""

    image: Tensor
    boxes: Tensor
    landmarks: Tensor
    ignore_image: Tensor
    ignore: Tensor


@dataclass(frozen=True)
class Cells:
    """Where the network's rows lie for one picture size: `corner` (c, 2) and `stride` (c, 1), in pixels."""

    corner: Tensor
    stride: Tensor

    @classmethod
    def of(cls, height: int, width: int, device: torch.device | str = "cpu") -> Cells:
        """In the order of `DetectorNet`'s output."""
        corners, strides = [], []
        for stride in STRIDES:
            rows, columns = height // stride, width // stride
            y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
            corners.append(torch.stack([x, y], 2).view(-1, 2) * stride)
            strides.append(torch.full((rows * columns, 1), stride))
        return cls(torch.cat(corners).float().to(device), torch.cat(strides).float().to(device))

    def decode(self, outputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Outputs `(n, c, 15)` as scores' logits `(n, c)`, boxes `(n, c, 4)` and landmarks `(n, c, 5, 2)` in pixels."""
        rows = outputs.transpose(1, 2)  # one number of all cells lies together: the exported file is that much faster
        corner, stride = self.corner.T, self.stride.T
        center, half = rows[:, 1:3] * stride + corner, rows[:, 3:5].clamp(max=6).exp() * stride / 2
        boxes = torch.cat([center - half, center + half], 1).transpose(1, 2)
        points = (rows[:, 5:] * stride + corner.repeat(5, 1)).transpose(1, 2)
        return rows[:, 0], boxes, points.reshape(*points.shape[:2], 5, 2)


@dataclass(frozen=True)
class Costs:
    """Means over the faces of a batch, but `found`: the share of the cells in charge whose score passes a half."""

    score: Tensor
    box: Tensor
    landmarks: Tensor
    found: Tensor

    @property
    def total(self) -> Tensor:
        return self.score + BOX_WEIGHT * self.box + LANDMARK_WEIGHT * self.landmarks


def costs(outputs: Tensor, cells: Cells, truth: Truth) -> Costs:
    """What a batch's outputs `(n, c, 15)` cost against the truth.

    The score is taught the fourth root of the box's overlap by the varifocal loss (Zhang et al. 2021), the box by
    1 - DIoU (Zheng et al. 2020), the landmarks by their mean distance as a share of the face's side, smooth below two
    hundredths.
    """
    logits, boxes, landmarks = cells.decode(outputs.float())
    image, cell, face, overlap = assign(logits.detach(), boxes.detach(), cells, truth)
    target = torch.zeros_like(logits)
    sure = overlap.sqrt().sqrt()  # a face whose box is hard to draw is a face no less
    target[image, cell] = sure
    weight = torch.sigmoid(logits.detach()).square() * ~_ignored(cells, truth, logits)
    weight[image, cell] = sure.clamp(min=0.5)  # in the beginning no box overlaps, and the score would learn nothing
    score = (F.binary_cross_entropy_with_logits(logits, target, reduction="none") * weight).sum()

    of = max(len(image), 1)
    mine, wanted = boxes[image, cell], truth.boxes[face]
    box = (1 - _distance_iou(mine, wanted)).sum() / of
    points = truth.landmarks[face]
    known = ~points.isnan().flatten(1).any(1)
    side = (wanted[:, 2:] - wanted[:, :2]).prod(1).sqrt().view(-1, 1, 1)
    error = ((landmarks[image, cell] - points.nan_to_num()) / side)[known]
    distance = F.smooth_l1_loss(error, torch.zeros_like(error), beta=0.02, reduction="sum") / 10
    found = (logits.detach()[image, cell] > 0).float().mean() if len(image) else logits.new_ones(())
    return Costs(score / of, box, distance / known.sum().clamp(min=1), found)


@torch.no_grad()
def assign(logits: Tensor, boxes: Tensor, cells: Cells, truth: Truth) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """SimOTA (Ge et al. 2021, YOLOX): every face gets the cells that answer for it most cheaply, as many as the
    overlaps of its ten best candidates sum up to, one at least; a cell wanted by two goes to the cheaper.

    Returns columns `(k,)`: image, cell, face, and the overlap (IoU) of the cell's box with the face's.
    """
    image, wanted = truth.image, truth.boxes
    if not len(wanted):
        none = image.new_empty(0)
        return none, none, none, logits.new_empty(0)
    center = (cells.corner + cells.stride / 2).unsqueeze(0)  # (1, c, 2)
    inside = ((center > wanted[:, None, :2]) & (center < wanted[:, None, 2:])).all(2)
    middle = (wanted[:, None, :2] + wanted[:, None, 2:]) / 2
    near = ((center - middle).abs() < _REACH * cells.stride).all(2)
    overlap = _iou(boxes[image], wanted.unsqueeze(1))  # (f, c)
    cost = F.softplus(-logits[image]) - 3 * torch.log(overlap + 1e-8)
    cost = cost + 1e5 * ~(inside & near) + 1e8 * ~(inside | near)
    count = min(_CANDIDATES, cost.shape[1])
    allowed = torch.where(inside | near, overlap, 0.0)
    wants = allowed.topk(count, 1).values.sum(1).int().clamp(min=1)
    cheapest = cost.topk(count, 1, largest=False)
    chosen = (torch.arange(count, device=cost.device) < wants.unsqueeze(1)) & (cheapest.values < 1e7)
    face, rank = chosen.nonzero(as_tuple=True)
    cell, price = cheapest.indices[face, rank], cheapest.values[face, rank]
    # Of the faces that want one cell the cheapest comes first, and stays.
    key = image[face] * cost.shape[1] + cell
    order = price.argsort(stable=True)
    order = order[key[order].argsort(stable=True)]
    key = key[order]
    first = torch.ones_like(key, dtype=torch.bool)
    first[1:] = key[1:] != key[:-1]
    kept = order[first]
    face, cell = face[kept], cell[kept]
    return image[face], cell, face, overlap[face, cell]


def _ignored(cells: Cells, truth: Truth, logits: Tensor) -> Tensor:
    """Which cells `(n, c)` lie in a region to ignore."""
    found = torch.zeros_like(logits, dtype=torch.bool)
    center = (cells.corner + cells.stride / 2).unsqueeze(0)
    inside = ((center > truth.ignore[:, None, :2]) & (center < truth.ignore[:, None, 2:])).all(2)
    region, cell = inside.nonzero(as_tuple=True)
    found[truth.ignore_image[region], cell] = True
    return found


def _iou(one: Tensor, other: Tensor) -> Tensor:
    """Intersection over union of boxes `(..., 4)`."""
    low, high = torch.maximum(one[..., :2], other[..., :2]), torch.minimum(one[..., 2:], other[..., 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    areas = (one[..., 2:] - one[..., :2]).prod(-1) + (other[..., 2:] - other[..., :2]).prod(-1)
    return shared / (areas - shared).clamp(min=1e-6)


def _distance_iou(one: Tensor, other: Tensor) -> Tensor:
    """IoU less the squared distance of the centres over the squared diagonal of the box around both."""
    apart = ((one[:, :2] + one[:, 2:] - other[:, :2] - other[:, 2:]) / 2).square().sum(1)
    low, high = torch.minimum(one[:, :2], other[:, :2]), torch.maximum(one[:, 2:], other[:, 2:])
    return _iou(one, other) - apart / (high - low).square().sum(1).clamp(min=1e-6)
