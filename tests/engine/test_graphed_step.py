"""The step as one CUDA graph: its logic with a stand-in for the graph, the real one on a GPU."""

import pytest
import torch
from mmaction.registry import MODELS
from mmengine.model import BaseDataPreprocessor
from mmengine.optim import AmpOptimWrapper, OptimWrapper

from aimclr_mm.datasets.batch import SkeletonBatch
from aimclr_mm.engine import BFloat16OptimWrapper, GraphedStep, graphed_step
from aimclr_mm.engine.graphed_step import obstacle
from aimclr_mm.utils.overlays import read_config

CONFIG = 'configs/aimclr_synthetic_xsub_joint.py'


def build(*overlays, device='cpu', dropout=0.5):
    torch.manual_seed(0)
    cfg = read_config(CONFIG, overlays)
    model = MODELS.build(cfg.model)
    model.init_weights()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = dropout
    model.to(device).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    return model, OptimWrapper(optimizer)


def batches(count, size=8, device='cpu'):
    torch.manual_seed(1)
    return [SkeletonBatch(torch.randn(size, 1, 2, 24, 25, 3, device=device)) for _ in range(count)]


class StandIn:
    """Record by calling the function; replay by calling it again and writing to its old results."""

    def __init__(self, models):
        self.calls = 0
        self.models = models

    def __call__(self, function, reset):
        with torch.random.fork_rng():
            function()  # changes buffers, as a warm-up does
            reset()
            result = function()
        self.calls += 1
        (model,) = self.models
        grads = [(p, p.grad) for p in model.parameters() if p.grad is not None]

        def replay():
            for p, _ in grads:
                p.grad = None
            for name, value in function().items():
                result[name].copy_(value)
            for p, grad in grads:
                grad.copy_(p.grad)

        return replay, result


def train(step, model, data, stages=()):
    """Train with each batch, with other views for each; return the losses."""
    logs = []
    for index, batch in enumerate(data):
        model.mining = index in stages
        torch.manual_seed(100 + index)
        model.update_key_encoder()
        logs.append({name: value.detach().clone() for name, value in step(batch).items()})
    return logs


def assert_same(model, other, logs, other_logs, **tolerance):
    for mine, theirs in zip(logs, other_logs, strict=True):
        assert mine.keys() == theirs.keys()
        torch.testing.assert_close(mine, theirs, **tolerance)
    torch.testing.assert_close(model.state_dict(), other.state_dict(), **tolerance)


def eager(model, optim_wrapper):
    return lambda batch: model.train_step(batch, optim_wrapper=optim_wrapper)


@pytest.mark.parametrize(
    'overlays', [(), ('configs/methods/crosclr.py',)], ids=['aimclr', 'crosclr']
)
def test_same_training_as_train_step(monkeypatch, overlays):
    data = [*batches(4), *batches(1, size=5), *batches(2)]  # one of another size
    model, optim_wrapper = build(*overlays)
    other, other_wrapper = build(*overlays)

    stand_in = StandIn([model])
    monkeypatch.setattr(graphed_step, 'capture', stand_in)
    step = GraphedStep(model, optim_wrapper)
    logs = train(step, model, data, stages=(3, 4, 5, 6))
    expected = train(eager(other, other_wrapper), other, data, stages=(3, 4, 5, 6))

    assert_same(model, other, logs, expected)
    torch.testing.assert_close(model.chance_loss(), other.chance_loss())
    assert stand_in.calls == 2  # one graph a stage; the odd batch has none


def test_learning_rate_may_change(monkeypatch):
    model, optim_wrapper = build()
    other, other_wrapper = build()
    monkeypatch.setattr(graphed_step, 'capture', StandIn([model]))
    step = GraphedStep(model, optim_wrapper)

    for lr in (0.1, 0.01):
        for wrapper in (optim_wrapper, other_wrapper):
            wrapper.optimizer.param_groups[0]['lr'] = lr
        logs = train(step, model, batches(2))
        expected = train(eager(other, other_wrapper), other, batches(2))
        assert_same(model, other, logs, expected)


def test_obstacles(monkeypatch):
    model, optim_wrapper = build()
    optimizer = optim_wrapper.optimizer
    assert obstacle(model, optim_wrapper) is None
    assert obstacle(model, BFloat16OptimWrapper(optimizer)) is None
    assert 'accumulated' in obstacle(model, OptimWrapper(optimizer, accumulative_counts=2))
    assert 'AmpOptimWrapper' in obstacle(model, AmpOptimWrapper.__new__(AmpOptimWrapper))

    model.draws_on_host = True  # as SkeleMix, PSTL and ActCLR: a graph would repeat the draw
    assert 'on the CPU' in obstacle(model, optim_wrapper)
    model.data_preprocessor = BaseDataPreprocessor()  # of a classifier, which needs labels
    assert 'more than the skeletons' in obstacle(model, optim_wrapper)
    monkeypatch.setattr(graphed_step, 'get_world_size', lambda: 2)
    assert 'several ranks' in obstacle(model, optim_wrapper)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
@pytest.mark.parametrize(
    'overlays', [(), ('configs/methods/crosclr.py',)], ids=['aimclr', 'crosclr']
)
def test_same_training_on_a_gpu(overlays):
    torch.backends.cudnn.allow_tf32 = False
    data = batches(6, device='cuda')
    model, optim_wrapper = build(*overlays, device='cuda')
    other, other_wrapper = build(*overlays, device='cuda')

    logs = train(GraphedStep(model, optim_wrapper), model, data, stages=(4, 5))
    expected = train(eager(other, other_wrapper), other, data, stages=(4, 5))
    for mine, theirs in zip(logs, expected, strict=True):
        assert mine['loss'].item() == pytest.approx(theirs['loss'].item(), rel=1e-3)
