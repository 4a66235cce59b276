"""PKU-MMD I, cross-view."""

_base_ = 'pkummdv1.py'
train_dataloader = dict(dataset=dict(split='xview_train'))
val_dataloader = dict(dataset=dict(split=['xview_train', 'xview_val']))
test_dataloader = val_dataloader
