"""HiCLR with the settings of the config: growing augmentations, joint masks, no EADM."""

_base_ = '../_base_/aimclr.py'
kept = ('backbone', 'head', 'queue_length', 'temperature', 'momentum', 'init', 'topk')
views = _base_.model.data_preprocessor
strong = [transform for transform in views.extreme if transform['type'] != 'TemporalFlip']
model = dict(
    _delete_=True,
    type='HiCLR',
    mask_ratio=0.1,
    data_preprocessor=dict(views, extreme=strong, others=dict(masked=strong)),
    **{name: value for name, value in _base_.model.items() if name in kept},
)
