"""AimCLR with the settings of the paper ("Experimental Settings"): model, views, schedule."""

normal = [
    dict(type='TemporalCrop', padding_ratio=6),
    dict(type='Shear', amplitude=0.5),
]
extreme = [
    *normal,
    dict(type='SpatialFlip', p=0.5),
    dict(type='Rotate', main_degrees=30, other_degrees=1),
    dict(type='GaussianNoise', std=0.01, p=0.5),
    dict(type='GaussianBlur', sigma=(0.1, 2), taps=15, p=0.5),
    dict(type='AxisMask', p=0.5),
    dict(type='TemporalFlip', p=0.5),
]

model = dict(
    type='AimCLR',
    data_preprocessor=dict(
        type='SkeletonViews',
        layout='ntu25',
        stream='joint',
        query=normal,
        key=normal,
        extreme=extreme,
    ),
    backbone=dict(
        type='AimCLRSTGCN',
        layout='ntu25',
        in_channels=3,
        base_channels=16,
        out_channels=256,
        tcn_dropout=0.5,
    ),
    head=dict(type='ProjectionHead', in_channels=256, hidden_channels=256, out_channels=128),
    eadm=dict(type='EADM', keep_margin=0.7),
    queue_length=32768,
    temperature=0.07,
    momentum=0.999,
    topk=1,
)

optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-4)
)
# mmengine stops a schedule at max_epochs unless it has an end: a run resumed with more epochs would keep its rate
param_scheduler = [dict(type='MultiStepLR', by_epoch=True, milestones=[250], gamma=0.1, end=10000)]
train_cfg = dict(type='ResumableTrainLoop', max_epochs=300, val_interval=10)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
val_evaluator = [dict(type='KNNMetric', k=[1, 20])]
test_evaluator = [dict(type='KNNMetric', k=[1, 5, 20]), dict(type='LinearProbeMetric')]

custom_hooks = [
    dict(type='EpochSeedHook'),
    dict(type='MomentumUpdateHook'),
    dict(type='StageSwitchHook', epoch=150),
    dict(type='CollapseMonitorHook'),
    dict(type='PlainCheckpointHook'),
]
auto_scale_lr = dict(enable=False, base_batch_size=128)
