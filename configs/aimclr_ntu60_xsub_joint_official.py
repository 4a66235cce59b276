"""The released code, where it differs from the paper (see the table of deviations in the docs)."""

_base_ = 'aimclr_ntu60_xsub_joint.py'
extreme = [
    dict(t, normalized=False) if t['type'] == 'GaussianBlur' else t
    for t in _base_.extreme
    if t['type'] != 'TemporalFlip'
]
model = dict(
    data_preprocessor=dict(extreme=extreme),
    eadm=dict(unbiased=True),
    mining_reduction='mean',
    init='released',
)
