"""PSTL: Barlow Twins of a whole clip and parts of it; Adam, half of the epochs, no key encoder."""

_base_ = '../_base_/aimclr.py'
kinds = ('TemporalCrop', 'Shear', 'Rotate', 'SpatialFlip')
views = {name: value for name, value in _base_.model.data_preprocessor.items() if name != 'extreme'}
normal = [
    dict(transform, amplitude=2 * transform['amplitude'])
    if transform['type'] == 'Shear'
    else transform
    for transform in _base_.model.data_preprocessor.extreme
    if transform['type'] in kinds
]
width = 24 * _base_.model.head.in_channels
model = dict(
    _delete_=True,
    type='PSTL',
    layout=_base_.model.backbone.get('layout', 'ntu25'),
    data_preprocessor=dict(views, query=normal, key=normal, others=dict(masked=normal)),
    backbone=_base_.model.backbone,
    head=dict(
        type='ProjectionHead',
        in_channels=_base_.model.head.in_channels,
        hidden_channels=width,
        out_channels=width,
        num_layers=3,
        batch_norm=True,
    ),
)
epochs = max(_base_.train_cfg.max_epochs // 2, 2)
warm_up = max(epochs // 15, 1)
optim_wrapper = dict(optimizer=dict(_delete_=True, type='Adam', lr=5e-3, weight_decay=1e-5))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, end=warm_up, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', begin=warm_up, T_max=epochs - warm_up, by_epoch=True),
]
train_cfg = dict(max_epochs=epochs)
gone = ('StageSwitchHook', 'MomentumUpdateHook')
# the loss centers the embeddings, so that their cosine says nothing about a collapse
custom_hooks = [
    dict(hook, max_cosine=1.0) if hook['type'] == 'CollapseMonitorHook' else hook
    for hook in _base_.custom_hooks
    if hook['type'] not in gone
]
