"""AAGCN, the network of 2s-AGCN with attention (Shi et al., 2020), as the encoder. An overlay."""

same = {k: v for k, v in _base_.model.backbone.items() if k in ('layout', 'in_channels')}
model = dict(
    backbone=dict(
        _delete_=True,
        type='SkeletonAAGCN',
        **same,
        graph_mode='spatial',
        data_bn_type='VC',
    ),
    head=dict(in_channels=256),
)
