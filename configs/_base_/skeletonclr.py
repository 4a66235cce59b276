"""SkeletonCLR with the settings of the paper ("Experimental Settings"): views, model, schedule."""

normal = [
    dict(type='TemporalCrop', padding_ratio=6),
    dict(type='Shear', amplitude=0.5),
]

model = dict(
    type='SkeletonCLR',
    data_preprocessor=dict(type='SkeletonViews', stream='joint', query=normal, key=normal),
    # AimCLRSTGCN with a faster forward pass; for the plain one use
    # --cfg-options model.backbone.type=AimCLRSTGCN
    backbone=dict(
        type='FastSTGCN', in_channels=3, base_channels=16, out_channels=256, tcn_dropout=0.5
    ),
    head=dict(type='ProjectionHead', in_channels=256, hidden_channels=256, out_channels=128),
    queue_length=32768,
    temperature=0.07,
    momentum=0.999,
)
# settings of the model that SkeletonCLR shares with AimCLR, for overlays that go back to it
shared = ('backbone', 'head', 'queue_length', 'temperature', 'momentum', 'init')

optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-4)
)
# By default a scheduler of mmengine ends at max_epochs; without `end`, a run that is resumed with
# more epochs would keep its last learning rate.
param_scheduler = [dict(type='MultiStepLR', by_epoch=True, milestones=[250], gamma=0.1, end=10000)]

train_cfg = dict(type='ResumableTrainLoop', max_epochs=300, val_interval=10)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
val_evaluator = [dict(type='KNNMetric', k=[1, 20])]
test_evaluator = [dict(type='KNNMetric', k=[1, 5, 20]), dict(type='LinearProbeMetric')]

custom_hooks = [
    dict(type='EpochSeedHook'),
    dict(type='MomentumUpdateHook'),
    dict(type='CollapseMonitorHook'),
    dict(type='PlainCheckpointHook'),
]
auto_scale_lr = dict(enable=False, base_batch_size=128)
