"""Settings of the paper: model, views, schedule, protocols, ablation; the released code."""

import inspect
import re

import pytest
import torch
from mmaction.registry import METRICS, MODELS
from mmengine.config import Config

from .composed import (
    FOLDER,
    OFFICIAL,
    PAPER,
    composed,
    differences,
    flatten,
    losses,
    shrink,
)

NORMAL = ['TemporalCrop', 'Shear']
EXTREME = [
    *NORMAL,
    'SpatialFlip',
    'Rotate',
    'GaussianNoise',
    'GaussianBlur',
    'AxisMask',
    'TemporalFlip',
]


def test_model():
    model = composed(PAPER).model
    assert (model.temperature, model.queue_length, model.momentum) == (0.07, 32768, 0.999)
    assert (model.topk, model.eadm.keep_margin) == (1, 0.7)
    assert model.head == dict(
        type='ProjectionHead', in_channels=256, hidden_channels=256, out_channels=128
    )
    backbone = model.backbone
    assert (backbone.type, backbone.in_channels) == ('FastSTGCN', 3)
    assert (backbone.base_channels, backbone.out_channels) == (16, 256)
    assert backbone.tcn_dropout == 0.5


def test_schedule():
    cfg = composed(PAPER)
    assert cfg.optim_wrapper.optimizer == dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-4)
    assert cfg.train_cfg.max_epochs == 300
    assert cfg.param_scheduler == [
        dict(type='MultiStepLR', by_epoch=True, milestones=[250], gamma=0.1, end=10000)
    ]
    stages = [hook.epoch for hook in cfg.custom_hooks if hook.type == 'StageSwitchHook']
    assert stages == [150]
    assert cfg.train_dataloader.batch_size == 128 and cfg.train_dataloader.drop_last


def test_data():
    dataset = composed(PAPER).train_dataloader.dataset
    assert dataset.preprocess == [
        dict(type='CenterSkeleton'),
        dict(type='ResizeClip', length=50),
        dict(type='AlignShoulders'),
        dict(type='FormatGCNInput', num_person=2),
    ]


def test_linear_evaluation():
    """As in the released code: SGD with learning rate 3, times 0.1 after epoch 80 of 100."""
    cfg = composed(PAPER)
    knn, linear = (dict(metric) for metric in cfg.test_evaluator)
    assert linear == dict(type='LinearProbeMetric')
    parameters = inspect.signature(METRICS.get('LinearProbeMetric')).parameters
    paper = dict(lr=3.0, epochs=100, milestones=(80,), batch_size=128, momentum=0.9, weight_decay=0)
    assert {name: parameters[name].default for name in paper} == paper


def test_defaults_of_the_model():
    cfg = composed(PAPER)
    shrink(cfg.model)
    model = MODELS.build(cfg.model)
    assert (model.alpha, model.beta, model.mining_reduction, model.init) == (1, 1, 'sum', 'default')
    assert (model.eadm.lam, model.eadm.temporal, model.eadm.unbiased) == (1e-4, 'element', False)


def test_views():
    cfg = composed(PAPER)
    shrink(cfg.model)
    views = MODELS.build(cfg.model).data_preprocessor.views
    names = {view: [type(t).__name__ for t in transforms] for view, transforms in views.items()}
    assert names == dict(query=NORMAL, key=NORMAL, extreme=EXTREME)

    crop, shear, flip, rotate, noise, blur, mask, reverse = views['extreme']
    assert (crop.padding_ratio, shear.amplitude) == (6, 0.5)
    assert (rotate.main_degrees, rotate.other_degrees) == (30, 1)
    assert (noise.std, blur.sigma, blur.taps, blur.normalized) == (0.01, (0.1, 2), 15, True)
    assert [t.p for t in (crop, shear, rotate)] == [1, 1, 1]
    assert [t.p for t in (flip, noise, blur, mask, reverse)] == [0.5] * 5


def test_official_variant_has_the_deviations_of_the_released_code():
    changed = differences(composed(PAPER), composed(OFFICIAL))
    last = 'model.data_preprocessor.extreme'
    assert {k: v for k, v in changed.items() if not k.startswith('extreme.')} == {
        'model.mining_reduction': (None, 'mean'),
        'model.init': (None, 'released'),
        'model.eadm.unbiased': (None, True),
        f'{last}.5.normalized': (None, False),
        f'{last}.7.type': ('TemporalFlip', None),
        f'{last}.7.p': (0.5, None),
    }


SITES = [
    'ntu60_xsub',
    'ntu60_xview',
    'ntu120_xsub',
    'ntu120_xset',
    'pkummdv1_xsub',
    'pkummdv1_xview',
    'pkummdv2_xsub',
]


@pytest.mark.parametrize('stream', ['bone', 'motion'])
@pytest.mark.parametrize('site', SITES)
def test_streams_differ_in_the_stream_only(site, stream):
    joint, other = (composed(FOLDER / f'aimclr_{site}_{name}.py') for name in ('joint', stream))
    assert differences(joint, other) == {'model.data_preprocessor.stream': ('joint', stream)}


@pytest.mark.parametrize('site', SITES)
def test_data_sets_differ_in_their_data_only(site):
    changed = differences(composed(PAPER), composed(FOLDER / f'aimclr_{site}_joint.py'))
    changed = {name for name in changed if not name.startswith(('data.', 'dataset.'))}  # variables
    loader = r'(train|val|test)_dataloader\.dataset'
    setting = r'ann_file|hint|split(\.\d)?|preprocess\.1\.surplus'  # PKU-MMD crops at both ends
    assert all(re.fullmatch(rf'num_classes|{loader}\.({setting})', name) for name in changed)


def test_skeletonclr_is_the_base_of_aimclr():
    """The overlay takes away what _base_/aimclr.py adds to _base_/skeletonclr.py."""
    ours, base = composed(PAPER, 'methods/skeletonclr'), Config.fromfile(PAPER)
    text = PAPER.read_text().replace('_base_/', f'{FOLDER}/_base_/')
    base = Config.fromstring(text.replace('aimclr.py', 'skeletonclr.py'), '.py')
    changed = differences(base, ours)
    assert {name.split('.')[0] for name in changed} <= {'extreme', 'kept', 'views'}


# Table 1: overlay, losses of the first and second stage, number of extreme embeddings
ABLATIONS = {
    'NA': ('methods/skeletonclr', {'loss_info'}, {'loss_info'}, 0),
    'EA': ('ablations/ea', {'loss_info'}, {'loss_info'}, 0),
    'NA+EA': ('ablations/na_ea', {'loss_info', 'loss_d3m'}, {'loss_info', 'loss_d3m'}, 1),
    'NA+EA+EADM': ('ablations/na_ea_eadm', {'loss_info', 'loss_d3m'}, {'loss_info', 'loss_d3m'}, 2),
    'NA+EA+EADM+NNM': ('', {'loss_info', 'loss_d3m'}, {'loss_nnm', 'loss_d3m'}, 2),
}


@pytest.mark.parametrize('row', ABLATIONS)
def test_ablations(row):
    overlay, first, second, extremes = ABLATIONS[row]
    cfg = composed(PAPER, overlay)
    shrink(cfg.model)
    for mining, names in ((False, first), (True, second)):
        result, model = losses(cfg, mining)
        assert set(result) == names

    views = model.data_preprocessor.views
    query = [type(t).__name__ for t in views['query']]
    assert query == (EXTREME if row == 'EA' else NORMAL)
    assert ('extreme' in views) == (extremes > 0)
    if extremes:
        assert len(model.embed_extreme(torch.randn(2, 2, 16, 25, 3))) == extremes


def test_extreme_views_alone_replace_query_and_key():
    """Table 1, "w/ EA"."""
    model, paper = composed(PAPER, 'ablations/ea').model, composed(PAPER).model.data_preprocessor
    assert model.data_preprocessor.query == model.data_preprocessor.key == paper.extreme
    model.data_preprocessor.update(query=paper.query, key=paper.key)
    assert model == composed(PAPER, 'methods/skeletonclr').model


ABLATED = {  # overlay, and the same by --cfg-options
    'ablations/na_ea': {'model.eadm': None, 'model.topk': 0},
    'ablations/na_ea_eadm': {'model.topk': 0},
}


@pytest.mark.parametrize('overlay', ABLATED)
def test_ablation_equals_its_overrides(overlay):
    cfg = composed(PAPER)
    cfg.merge_from_dict(ABLATED[overlay])
    assert flatten(cfg.to_dict()) == flatten(composed(PAPER, overlay).to_dict())
