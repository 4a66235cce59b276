"""The demonstration's second training: AimCLR from an encoder of random movements (--pretrained)."""

_base_ = 'aimclr_synthetic_xsub_joint.py'
model = dict(backbone=dict(out_channels=128), head=dict(in_channels=128, hidden_channels=128))
optim_wrapper = dict(optimizer=dict(lr=0.01))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=4, by_epoch=True)]
train_cfg = dict(max_epochs=4, val_interval=1)
custom_hooks = [
    dict(h, epoch=2) if h['type'] == 'StageSwitchHook' else h for h in _base_.custom_hooks
]
knn = dict(type='KNNMetric', k=[1])
whitened = dict(knn, prefix='knn_whitened', whitened=True)
test_evaluator = [knn, whitened, dict(type='LinearProbeMetric')]
