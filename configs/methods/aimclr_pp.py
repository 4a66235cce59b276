"""AimCLR++: AimCLR without EADM in three streams; mining, then voting; a third longer."""

_base_ = '../_base_/aimclr.py'
streams = ['joint', 'bone', 'motion']
views = _base_.model.data_preprocessor
extreme = [transform for transform in views.extreme if transform['type'] != 'TemporalFlip']
single = {name: value for name, value in _base_.model.items() if name != 'data_preprocessor'}
model = dict(
    _delete_=True,
    type='AimCLRPlusPlus',
    streams=streams,
    topk=20,
    votes=2,
    data_preprocessor=dict(views, stream=streams, extreme=extreme),
    model=dict(single, eadm=None, topk=4, mining_reduction='mean'),
)
# of 400 epochs: mining from 150 on, voting from 300 on, learning rate step at 350
epochs = _base_.train_cfg.max_epochs
total = epochs * 4 // 3
train_cfg = dict(max_epochs=total)
param_scheduler = [
    dict(
        scheduler,
        **{
            name: value
            for name, value in dict(milestones=[total * 7 // 8], T_max=total).items()
            if name in scheduler
        },
    )
    for scheduler in _base_.param_scheduler
]
stages = [
    dict(type='StageSwitchHook', epoch=epochs // 2),
    dict(type='StageSwitchHook', epoch=epochs, stage='voting'),
]
others = [hook for hook in _base_.custom_hooks if hook['type'] != 'StageSwitchHook']
custom_hooks = [*others, *stages]
