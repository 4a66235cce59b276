"""AAGCN, the network of 2s-AGCN with attention (Shi et al., 2020), as the encoder. An overlay."""

model = dict(
    backbone=dict(
        _delete_=True,
        type='SkeletonAAGCN',
        layout=_base_.model.data_preprocessor.layout,
        in_channels=_base_.model.backbone.in_channels,
        graph_mode='spatial',
        data_bn_type='VC',
    ),
    head=dict(in_channels=256),
)
