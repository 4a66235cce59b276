"""What holds for every later method: bfloat16, pairs of recordings, evaluation, fresh weights."""

import pytest
import torch
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample

N, T = 4, 16
NORMAL = [dict(type='TemporalCrop'), dict(type='Shear')]
STRONG = [*NORMAL, dict(type='Rotate')]
BACKBONE = dict(type='FastSTGCN', base_channels=4, out_channels=8, tcn_dropout=0.0)
HEAD = dict(type='ProjectionHead', in_channels=8, hidden_channels=8, out_channels=6)
CONTRAST = dict(backbone=BACKBONE, head=HEAD, queue_length=16, temperature=0.1)
METHODS = {
    'HiCLR': dict(CONTRAST, type='HiCLR'),
    'PSTL': dict(type='PSTL', backbone=BACKBONE, head=dict(HEAD, num_layers=3, batch_norm=True)),
    'ActCLR': dict(CONTRAST, type='ActCLR', neighbors=8),
    'SkeleMix': dict(CONTRAST, type='SkeletonCLR', mixing=dict(type='SkeleMix')),
    'AimCLR++': dict(
        type='AimCLRPlusPlus', model=dict(CONTRAST, type='AimCLR', eadm=None, topk=4), topk=8
    ),
}


def build(name: str, stream: str = 'joint', **views) -> torch.nn.Module:
    """Return a small model with its preprocessor, in train mode."""
    cfg = METHODS[name]
    preprocessor = dict(
        type='SkeletonViews',
        stream=['joint', 'bone', 'motion'] if 'model' in cfg else stream,
        query=NORMAL,
        key=NORMAL,
        extreme=STRONG,
        others=dict(masked=STRONG, strong=STRONG),
        **views,
    )
    model = MODELS.build(dict(cfg, data_preprocessor=preprocessor))
    model.init_weights()
    return model.train()


def batch(clips: int = 1, people: int = 2) -> dict:
    """Return a batch; the last sample lacks the second person."""
    x = torch.randn(N, clips, people, T, 25, 3)
    x[-1, :, 1:] = 0
    return dict(inputs=list(x), data_samples=[ActionDataSample() for _ in range(N)])


def losses(model: torch.nn.Module, data: dict) -> dict[str, torch.Tensor]:
    """Return the losses of all stages, the names with the stage."""
    stages = [{}, dict(mining=True), dict(mining=True, voting=True)]
    found = {}
    for number, stage in enumerate(stages):
        if not all(hasattr(model, name) for name in stage):
            continue
        for name, value in stage.items():
            setattr(model, name, value)
        result = model(**model.data_preprocessor(data, training=True), mode='loss')
        found.update({f'{number} {name}': loss for name, loss in result.items()})
    return found


@pytest.mark.parametrize('name', METHODS)
def test_bfloat16_gives_finite_losses_near_those_of_float32(name):
    data, results = batch(), []
    for amp in (False, True):
        torch.manual_seed(2)
        model = build(name)
        with torch.autocast('cpu', dtype=torch.bfloat16, enabled=amp):
            results.append(losses(model, data))
        sum(results[-1].values()).backward()
        assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
    full, half = results
    assert set(full) == set(half)
    for key, value in half.items():
        assert value.dtype == torch.float32 and value.isfinite(), key
        assert value.item() == pytest.approx(full[key].item(), rel=0.25, abs=0.2), key


@pytest.mark.parametrize('name', METHODS)
@pytest.mark.parametrize('stream', ['bone', 'motion'])
def test_every_stream(name, stream):
    assert all(loss.isfinite() for loss in losses(build(name, stream), batch()).values())


@pytest.mark.parametrize('name', METHODS)
def test_pairs_of_recordings(name):
    """The key view comes from the second recording of each sample."""
    assert all(loss.isfinite() for loss in losses(build(name, pairs=True), batch(2)).values())


@pytest.mark.parametrize('name', METHODS)
def test_one_person(name):
    data = dict(
        inputs=list(torch.randn(N, 1, 1, T, 25, 3)),
        data_samples=[ActionDataSample() for _ in range(N)],
    )
    assert all(loss.isfinite() for loss in losses(build(name), data).values())


@pytest.mark.parametrize('name', METHODS)
def test_evaluation_gives_the_features_of_the_backbone(name):
    model = build(name).eval()
    with torch.no_grad():
        samples = model.test_step(batch())
    streams = 3 if name == 'AimCLR++' else 1
    assert all(sample.feature.shape == (8 * streams,) for sample in samples)


@pytest.mark.parametrize('name', METHODS)
def test_draws_on_the_cpu_are_told(name):
    """A CUDA graph would repeat them."""
    drawn = any(getattr(module, 'draws_on_host', False) for module in build(name).modules())
    assert drawn == (name in ('PSTL', 'ActCLR', 'SkeleMix'))


@pytest.mark.parametrize('name', METHODS)
def test_chance_is_above_nothing_and_finite(name):
    assert 0 < build(name).chance_loss() < 1e4
