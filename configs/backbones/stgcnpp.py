"""ST-GCN++ as the encoder (Duan et al., 2022): mmaction2's STGCN with its options. An overlay."""

model = dict(
    backbone=dict(
        _delete_=True,
        type='SkeletonSTGCN',
        layout=_base_.model.data_preprocessor.layout,
        in_channels=_base_.model.backbone.in_channels,
        gcn_adaptive='init',
        gcn_with_res=True,
        tcn_type='mstcn',
        graph_mode='spatial',
    ),
    head=dict(in_channels=256),
)
