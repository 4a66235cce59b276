"""Mixed precision on any device."""
import torch
from mmaction.registry import OPTIM_WRAPPERS


def test_bfloat16_wrapper_runs_forward_in_bfloat16_only():
    """Inside the context products are bfloat16; weights and the update stay float32."""
    model = torch.nn.Linear(4, 3)
    before = model.weight.detach().clone()
    wrapper = OPTIM_WRAPPERS.build(dict(type='BFloat16OptimWrapper',
                                        optimizer=torch.optim.SGD(model.parameters(), 0.1)))
    with wrapper.optim_context(model):
        y = model(torch.ones(2, 4))
    assert y.dtype == torch.bfloat16 and model(torch.ones(2, 4)).dtype == torch.float32
    wrapper.update_params(y.float().sum())
    torch.testing.assert_close(model.weight.detach(), before - 0.1 * 2, rtol=0, atol=1e-6)
