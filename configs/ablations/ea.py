"""Table 1, "w/ EA" alone: SkeletonCLR with extreme augmentations in place of the normal ones."""

views = {k: v for k, v in _base_.model.data_preprocessor.items() if k != 'extreme'}
extreme = _base_.model.data_preprocessor.extreme
model = dict(
    _delete_=True,
    type='SkeletonCLR',
    data_preprocessor=dict(views, query=extreme, key=extreme),
    **{name: value for name, value in _base_.model.items() if name in _base_.shared},
)
custom_hooks = [hook for hook in _base_.custom_hooks if hook['type'] != 'StageSwitchHook']
