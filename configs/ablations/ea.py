"""Table 1, "w/ EA" alone: extreme augmentations in the place of the normal ones, SkeletonCLR's loss."""
views = _base_.model.data_preprocessor
model = dict(
    _delete_=True,
    type='SkeletonCLR',
    data_preprocessor=dict(type=views.type, layout=views.layout, stream=views.stream, query=views.extreme,
                           key=views.extreme),
    backbone=_base_.model.backbone,
    head=_base_.model.head,
    queue_length=_base_.model.queue_length,
    temperature=_base_.model.temperature,
    momentum=_base_.model.momentum)
custom_hooks = [hook for hook in _base_.custom_hooks if hook['type'] != 'StageSwitchHook']
