"""Mixed precision on any device."""

import pytest
import torch
from mmaction.registry import OPTIM_WRAPPERS

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


@pytest.mark.parametrize(
    'cuda, capabilities, fast',
    [
        (True, dict(avx512_bf16=False, amx_bf16=False), True),
        (False, dict(avx512_bf16=False, amx_bf16=False), False),
        (False, dict(avx512_bf16=True, amx_bf16=False), True),
        (False, dict(avx512_bf16=False, amx_bf16=True), True),
        (False, dict(architecture='aarch64'), True),
    ],
)
def test_where_bfloat16_is_fast(monkeypatch, cuda, capabilities, fast):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: cuda)
    monkeypatch.setattr(torch.cpu, 'get_capabilities', lambda: capabilities, raising=False)
    assert has_fast_bfloat16() == fast
