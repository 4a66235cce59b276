_base_ = 'aimclr_ntu60_xsub_joint.py'
train_dataloader = dict(dataset=dict(split='xview_train'))
val_dataloader = dict(dataset=dict(split=['xview_train', 'xview_val']))
test_dataloader = val_dataloader
