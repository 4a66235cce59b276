"""NTU RGB+D 120, cross-setup."""

_base_ = 'ntu120.py'
train_dataloader = dict(dataset=dict(split='xset_train'))
val_dataloader = dict(dataset=dict(split=['xset_train', 'xset_val']))
test_dataloader = val_dataloader
