"""Sharpness-aware steps: the gradient is that of the neighbourhood's worst point, and the weights stay."""

from __future__ import annotations

import copy

import torch
from torch import nn

from mien.training.sharpness import Climb

RHO = 0.3


def test_the_gradient_is_taken_uphill_and_the_weights_come_back() -> None:
    torch.manual_seed(0)
    first = nn.Linear(3, 4)
    net = nn.Sequential(first, nn.Tanh(), nn.Linear(4, 1))
    twin, x = copy.deepcopy(net), torch.randn(8, 3)

    gradients = torch.autograd.grad(twin(x[:2]).square().mean(), list(twin.parameters()))
    length = torch.cat([g.flatten() for g in gradients]).norm()
    with torch.no_grad():
        for weight, gradient in zip(twin.parameters(), gradients, strict=True):
            weight.add_(gradient / length, alpha=RHO)
    torch.autograd.backward(twin(x).square().mean())

    before = copy.deepcopy(net.state_dict())
    climb = Climb(net, RHO)
    for _ in range(2):  # the second step finds nothing left over from the first
        net.zero_grad()
        climb.up(net(x[:2]).square().mean())
        assert not torch.equal(first.weight, before["0.weight"])
        torch.autograd.backward(net(x).square().mean())
        for mine, theirs in zip(net.parameters(), twin.parameters(), strict=True):
            torch.testing.assert_close(mine.grad, theirs.grad)
        assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


def test_statistics_are_those_of_the_weights_that_are_kept() -> None:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(2)
    net = nn.Sequential(nn.Conv2d(1, 2, 3), norm)
    x = torch.randn(4, 1, 8, 8)
    twin = copy.deepcopy(net)
    twin(x)
    expected = twin.state_dict()["1.running_var"]
    climb = Climb(net, RHO)
    climb.up(net(x).square().sum(1).max())
    torch.autograd.backward(net(10 * x).square().mean())
    torch.testing.assert_close(norm.running_var, expected)
    net(10 * x)
    assert norm.running_var is not None
    assert (norm.running_var > 2 * expected).all()
