"""Encoder `generated-bone`; trained with an earlier, smaller configuration (docs/encoders.md)."""

_base_ = 'joint.py'
model = dict(
    data_preprocessor=dict(stream='bone'),
    backbone=dict(base_channels=8, out_channels=128),
    head=dict(in_channels=128, hidden_channels=128),
    queue_length=4096,
)
