"""Encoder `generated-3s`: the embeddings of the three streams, concatenated."""

_base_ = 'joint.py'
streams = ['joint', 'bone', 'motion']
large = {key: value for key, value in _base_.model.items() if key != 'data_preprocessor'}
small = dict(
    large,
    backbone=dict(large['backbone'], base_channels=8, out_channels=128),
    head=dict(large['head'], in_channels=128, hidden_channels=128),
    queue_length=4096,
)
model = dict(
    _delete_=True,
    type='CrossStream',
    streams=streams,
    model=dict(joint=large, bone=small, motion=large),
    data_preprocessor=dict(type='SkeletonViews', layout=_base_.layout, stream=streams),
)
