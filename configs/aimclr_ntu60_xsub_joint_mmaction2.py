"""With mmaction2's own preprocessing, which is another data setting than that of the paper's numbers."""

_base_ = 'aimclr_ntu60_xsub_joint.py'
preprocess = [dict(type='PreNormalize3D')]
rest = [
    dict(type='PoseDecode'),
    dict(type='FormatGCNInput', num_person=2),
    *_base_.dataset.pipeline,
]
train_pipeline = [dict(type='UniformSampleFrames', clip_len=50), *rest]
test_pipeline = [dict(type='UniformSampleFrames', clip_len=50, test_mode=True), *rest]
train_dataloader = dict(
    num_workers=4,
    persistent_workers=True,
    dataset=dict(preprocess=preprocess, pipeline=train_pipeline, batched=False),
)
val_dataloader = dict(dataset=dict(preprocess=preprocess, pipeline=test_pipeline))
test_dataloader = val_dataloader
