"""CrosSCLR: SkeletonCLR in three streams at once, with cross-stream mining from the stage switch on."""
_base_ = '../_base_/aimclr.py'
streams = ['joint', 'bone', 'motion']
views = {name: value for name, value in _base_.model.data_preprocessor.items() if name != 'extreme'}
model = dict(
    _delete_=True,
    type='CrossStream',
    streams=streams,
    topk=1,
    context=True,
    data_preprocessor=dict(views, stream=streams),
    model=dict(
        type='SkeletonCLR',
        backbone=_base_.model.backbone,
        head=_base_.model.head,
        queue_length=_base_.model.queue_length,
        temperature=_base_.model.temperature,
        momentum=_base_.model.momentum))
