"""mmaction2's own preprocessing instead of the one that the paper's results were obtained with."""

_base_ = 'aimclr_ntu60_xsub_joint.py'
preprocess = [dict(type='PreNormalize3D')]
frames = dict(type='UniformSampleFrames', clip_len=50)
pack = _base_.dataset.pipeline
rest = [dict(type='PoseDecode'), dict(type='FormatGCNInput', num_person=2), *pack]
train = dict(preprocess=preprocess, pipeline=[frames, *rest], batched=False)
test = dict(preprocess=preprocess, pipeline=[dict(frames, test_mode=True), *rest], batched=False)
workers = dict(num_workers=4, persistent_workers=True)
train_dataloader = dict(**workers, dataset=train)
val_dataloader = dict(**workers, dataset=test)
test_dataloader = val_dataloader
