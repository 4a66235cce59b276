"""Encoder `generated-3s`: the embeddings of the three streams, concatenated."""

_base_ = 'joint.py'
streams = ['joint', 'bone', 'motion']
single = {key: value for key, value in _base_.model.items() if key != 'data_preprocessor'}
model = dict(
    _delete_=True,
    type='CrossStream',
    streams=streams,
    model=single,
    data_preprocessor=dict(type='SkeletonViews', layout=_base_.layout, stream=streams),
)
