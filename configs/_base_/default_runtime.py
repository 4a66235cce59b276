"""Runtime settings of every run: hooks, logging, checkpoints, seeds."""

runner_type = 'ConsoleRunner'
default_scope = 'mmaction'
custom_imports = dict(imports=['aimclr_mm'], allow_failed_imports=False)

default_hooks = dict(
    runtime_info=dict(type='DeferredRuntimeInfoHook'),
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50, ignore_last=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='SafeCheckpointHook', interval=10, max_keep_ckpts=2, save_last=True),
    divergence=dict(type='DivergenceHook'),
    provenance=dict(type='ProvenanceHook'),
    distributed_check=dict(type='DistributedCheckHook'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    sync_buffers=dict(type='SyncBuffersHook'),
    console_log=dict(type='ConsoleLogHook'),
)

env_cfg = dict(
    cudnn_benchmark=True,
    allow_tf32=False,  # True: faster and less accurate float32 matrix products on NVIDIA GPUs
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl', timeout=600),
)

randomness = dict(seed=0, diff_rank_seed=False, deterministic=False)
log_processor = dict(type='ConsoleLogProcessor', window_size=10, by_epoch=True)
visualizer = dict(type='ActionVisualizer', vis_backends=[dict(type='LocalVisBackend')])
log_level = 'INFO'
load_from = None
resume = False
