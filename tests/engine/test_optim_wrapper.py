"""Mixed precision on any device."""

import pytest
import torch
from mmaction.registry import OPTIM_WRAPPERS
from mmengine.config import Config

from aimclr_mm.apis.cli import use_amp
from aimclr_mm.engine.optim_wrapper import has_fast_bfloat16


def test_bfloat16_wrapper_runs_forward_in_bfloat16_only():
    """Inside the context products are bfloat16; weights and the update stay float32."""
    model = torch.nn.Linear(4, 3)
    before = model.weight.detach().clone()
    wrapper = OPTIM_WRAPPERS.build(
        dict(type='BFloat16OptimWrapper', optimizer=torch.optim.SGD(model.parameters(), 0.1))
    )
    with wrapper.optim_context(model):
        y = model(torch.ones(2, 4))
    assert y.dtype == torch.bfloat16 and model(torch.ones(2, 4)).dtype == torch.float32
    wrapper.update_params(y.float().sum())
    torch.testing.assert_close(model.weight.detach(), before - 0.1 * 2, rtol=0, atol=1e-6)


def pretend_gpu(monkeypatch, capability: tuple[int, int] | None, hip: str | None = None) -> None:
    """Pretend that there is a GPU of a compute capability, or none, with CUDA or HIP."""
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: capability is not None)
    monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda: capability)
    monkeypatch.setattr(torch.version, 'hip', hip)


@pytest.mark.parametrize(
    'capabilities, fast',
    [
        (dict(avx512_bf16=False, amx_bf16=False), False),
        (dict(avx512_bf16=True, amx_bf16=False), True),
        (dict(avx512_bf16=False, amx_bf16=True), True),
        (dict(architecture='aarch64'), True),
    ],
)
def test_where_bfloat16_is_fast_on_a_cpu(monkeypatch, capabilities, fast):
    pretend_gpu(monkeypatch, None)
    monkeypatch.setattr(torch.cpu, 'get_capabilities', lambda: capabilities, raising=False)
    assert has_fast_bfloat16() == fast


@pytest.mark.parametrize(
    'capability, hip, fast',
    [((7, 5), None, False), ((8, 0), None, True), ((9, 0), None, True), ((7, 0), '6.2', True)],
)
def test_where_bfloat16_is_fast_on_a_gpu(monkeypatch, capability, hip, fast):
    pretend_gpu(monkeypatch, capability, hip)
    assert has_fast_bfloat16() == fast


BFLOAT16, FLOAT16 = 'BFloat16OptimWrapper', 'AmpOptimWrapper'


@pytest.mark.parametrize(
    'capability, chosen, expected',
    [
        (None, 'OptimWrapper', BFLOAT16),
        (None, FLOAT16, BFLOAT16),  # mmengine's wrapper needs a GPU
        ((9, 0), 'OptimWrapper', BFLOAT16),
        ((9, 0), FLOAT16, FLOAT16),  # by choice
        ((7, 0), 'OptimWrapper', FLOAT16),  # without bfloat16
    ],
)
def test_precision_of_the_option_amp(monkeypatch, capability, chosen, expected):
    pretend_gpu(monkeypatch, capability)
    settings = dict(loss_scale=512.0) if chosen == FLOAT16 else {}
    cfg = Config(dict(optim_wrapper=dict(type=chosen, optimizer=dict(type='SGD'), **settings)))
    use_amp(cfg)
    assert cfg.optim_wrapper.type == expected
    scale = None if expected == BFLOAT16 else settings.get('loss_scale', 'dynamic')
    assert cfg.optim_wrapper.get('loss_scale') == scale


def test_amp_refuses_other_wrappers():
    with pytest.raises(ValueError, match="--amp does not support .* 'ApexOptimWrapper'"):
        use_amp(Config(dict(optim_wrapper=dict(type='ApexOptimWrapper'))))
