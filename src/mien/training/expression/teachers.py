"""Knowledge distillation: the teachers' probabilities, combined with the annotators' votes where a recipe says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from mien import models
from mien.data.prepared import PreparedSet
from mien.errors import RecipeError
from mien.labels import ordered
from mien.training.device import label_logits, predict_logits
from mien.training.expression.augment import augment
from mien.training.expression.targets import named_shares
from mien.training.recipe import Recipe
from mien.training.run_folder import RunFolder
from mien.vision.classify import Classifier


class VoteFusion:
    """P(label | votes, teachers' probabilities), by a logistic regression on the shares of the votes `(n, 8)` and the
    logarithms of the probabilities `(n, k)`.

    Fit it on rows that the teachers were not trained on; rows without votes are left out.
    """

    def __init__(self, votes: Tensor, taught: Tensor, labels: NDArray[np.int64]) -> None:
        voted = votes.any(1).cpu()
        model = LogisticRegression(C=1.0, max_iter=3000)
        model.fit(_features(votes, taught).cpu()[voted].numpy(), labels[voted.numpy()])
        weight, bias = model.coef_, model.intercept_
        if len(model.classes_) == 2:  # one row, for their difference
            weight, bias = (np.concatenate([-row, row]) / 2 for row in (weight, bias))
        self._weight = taught.new_zeros(taught.shape[1], weight.shape[1])
        self._bias = taught.new_full((taught.shape[1],), -torch.inf)  # labels that no row has
        self._weight[model.classes_] = torch.from_numpy(weight).to(taught)
        self._bias[model.classes_] = torch.from_numpy(bias).to(taught)

    def __call__(self, votes: Tensor, taught: Tensor) -> Tensor:
        """Probabilities `(n, k)`; rows without votes keep the teachers'."""
        joined = F.linear(_features(votes, taught), self._weight, self._bias).softmax(1)
        return torch.where(votes.any(1, keepdim=True), joined, taught)


def _features(votes: Tensor, taught: Tensor) -> Tensor:
    return torch.cat([votes, torch.log(taught + 1e-4)], 1)


def labels_of(teacher: str) -> tuple[str, ...]:
    """The labels of a run folder's network, or of an exported model. Raises DataError or ModelError without either."""
    if Path(teacher).is_dir():
        return RunFolder(Path(teacher)).labels()
    return ordered(models.load(teacher).card.labels)


class Teachers:
    """The best networks of the recipe's run folders, on the device, and the exported models that it names.

    With `teachers_see_votes` a `VoteFusion` is fitted on the `validation` rows, viewed as the training rows will be.
    Raises RecipeError where an exported model should look at augmented images, which only networks on the device do.
    """

    def __init__(self, recipe: Recipe, validation: PreparedSet, device: str) -> None:
        self._device = device
        named = recipe.optim.teachers
        runs = [RunFolder(Path(folder)) for folder in named if Path(folder).is_dir()]
        self._exported = [Classifier(models.load(model)) for model in named if not Path(model).is_dir()]
        self._nets = [(run.best_net()[0], run.recipe().model.input_size) for run in runs]
        for net, _ in self._nets:
            net.requires_grad_(False).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self._exported and recipe.optim.teach_views == "augmented":
            name = self._exported[0].card.name
            raise RecipeError(f'the model {name} cannot teach augmented images; set optim.teach_views to "plain"')
        self._fusion: VoteFusion | None = None
        if recipe.optim.teachers_see_votes:
            images, plain = validation.images, recipe.optim.teach_views == "plain"
            taught = self._plain(images) if plain else self._augmented(images, recipe)
            votes = torch.from_numpy(named_shares(validation.votes)).to(device)
            self._fusion = VoteFusion(votes, taught, validation.labels)

    def probabilities(self, images: Tensor, votes: Tensor, draws: torch.Generator) -> Tensor:
        """Probabilities `(b, k)` of one teacher, drawn at random, for images `(b, 1, S, S)` in 0..1 with their vote
        shares `(b, 8)`. Over many steps that is the teachers' mean, at the cost of one."""
        return self._fused(self._one(images, draws), votes)

    def probabilities_once(
        self, images: NDArray[np.uint8], votes: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """Mean probabilities `(n, k)` of all teachers over grey crops `(n, S, S)` and their mirror images; `votes` are
        vote shares `(n, 8)`, where people voted."""
        taught = self._plain(images)
        if votes is not None:
            taught = self._fused(taught, torch.from_numpy(votes).to(self._device))
        probabilities: NDArray[np.float32] = taught.cpu().numpy()
        return probabilities

    def _fused(self, taught: Tensor, votes: Tensor) -> Tensor:
        return self._fusion(votes, taught) if self._fusion else taught

    def _plain(self, images: NDArray[np.uint8]) -> Tensor:
        views = images, np.ascontiguousarray(images[..., ::-1])
        found = [predict_logits(net, view, size, self._device).softmax(1) for net, size in self._nets for view in views]
        found += [torch.from_numpy(model.probabilities(view)) for model in self._exported for view in views]
        return torch.stack(found).mean(0).to(self._device)

    def _augmented(self, images: NDArray[np.uint8], recipe: Recipe) -> Tensor:
        draws = torch.Generator(self._device).manual_seed(recipe.seed)
        found = []
        for crops in torch.split(torch.from_numpy(images), 128):
            crops = crops.to(self._device).unsqueeze(1).float() / 255
            found.append(self._one(augment(crops, recipe.model.input_size, recipe.augment, draws), draws))
        return torch.cat(found)

    def _one(self, images: Tensor, draws: torch.Generator) -> Tensor:
        drawn = torch.randint(len(self._nets), (), generator=draws, device=self._device)
        net, size = self._nets[int(drawn)]
        return label_logits(net, images, size, self._device).softmax(1)
