"""Table 1, "w/ EA" alone: extreme augmentations in the place of the normal ones, SkeletonCLR's loss."""

kept = ('backbone', 'head', 'queue_length', 'temperature', 'momentum', 'init')
views = _base_.model.data_preprocessor
model = dict(
    _delete_=True,
    type='SkeletonCLR',
    data_preprocessor=dict(
        type=views.type,
        layout=views.layout,
        stream=views.stream,
        query=views.extreme,
        key=views.extreme,
    ),
    **{name: value for name, value in _base_.model.items() if name in kept},
)
custom_hooks = [hook for hook in _base_.custom_hooks if hook['type'] != 'StageSwitchHook']
