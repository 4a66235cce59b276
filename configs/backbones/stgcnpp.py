"""ST-GCN++ as the encoder (Duan et al., 2022): mmaction2's STGCN with its options. An overlay."""

same = {k: v for k, v in _base_.model.backbone.items() if k in ('layout', 'in_channels')}
model = dict(
    backbone=dict(
        _delete_=True,
        type='SkeletonSTGCN',
        **same,
        gcn_adaptive='init',
        gcn_with_res=True,
        tcn_type='mstcn',
        graph_mode='spatial',
    ),
    head=dict(in_channels=256),
)
