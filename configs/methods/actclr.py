"""ActCLR: actionlets, with the settings of the config; start it with --pretrained."""

_base_ = '../_base_/aimclr.py'
kept = ('backbone', 'head', 'momentum', 'init')
views = _base_.model.data_preprocessor
strong = [transform for transform in views.extreme if transform['type'] != 'TemporalFlip']
moved = [*views.query, dict(type='TransferBoneLengths')]
length = 2 * _base_.model.queue_length
model = dict(
    _delete_=True,
    type='ActCLR',
    queue_length=length,
    neighbors=length // 8,
    layout=_base_.model.backbone.get('layout', 'ntu25'),
    data_preprocessor=dict(views, query=moved, extreme=strong, others=dict(strong=strong)),
    **{name: value for name, value in _base_.model.items() if name in kept},
)
custom_hooks = [hook for hook in _base_.custom_hooks if hook['type'] != 'StageSwitchHook']
