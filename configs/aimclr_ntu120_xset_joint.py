_base_ = 'aimclr_ntu120_xsub_joint.py'
train_dataloader = dict(dataset=dict(split='xset_train'))
val_dataloader = dict(dataset=dict(split=['xset_train', 'xset_val']))
test_dataloader = val_dataloader
