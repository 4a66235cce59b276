"""SkeleMix on top of any method with a memory bank: mixed clips, contrasted in both regions."""

_base_ = 'skeletonclr.py'
single = _base_.model.get('model', _base_.model)
mixing = dict(type='SkeleMix', layout=single.backbone.get('layout', 'ntu25'))
model = dict(model=dict(mixing=mixing)) if 'model' in _base_.model else dict(mixing=mixing)
