"""The released ST-GCN encoder, computed directly from the tensors of a released checkpoint."""

import torch
import torch.nn.functional as F
from torch import Tensor

STRIDES = (1, 1, 1, 1, 2, 1, 1, 2, 1, 1)  # over frames, of each block


def batch_norm(x: Tensor, state: dict, name: str) -> Tensor:
    """Normalize channels (dimension 1) with the stored statistics."""
    names = ('running_mean', 'running_var', 'weight', 'bias')
    mean, var, weight, bias = (state[f'{name}.{part}'] for part in names)
    return F.batch_norm(x, mean, var, weight, bias)


def block(x: Tensor, state: dict, i: int) -> Tensor:
    """Block i of (N * M, C, T, V): graph convolution, temporal convolution, residual."""
    name, stride = f'st_gcn_networks.{i}', (STRIDES[i], 1)
    weight, bias = state[f'{name}.gcn.conv.weight'], state[f'{name}.gcn.conv.bias']
    y = F.conv2d(x, weight, bias).unflatten(1, (len(state['A']), -1))  # (N * M, K, C', T, V)
    y = torch.einsum('nkctv,kvw->nctw', y, state['A'] * state[f'edge_importance.{i}'])
    y = batch_norm(y, state, f'{name}.tcn.0').relu()
    weight, bias = state[f'{name}.tcn.2.weight'], state[f'{name}.tcn.2.bias']
    y = batch_norm(F.conv2d(y, weight, bias, stride, (4, 0)), state, f'{name}.tcn.3')

    if i == 0:
        return y.relu()
    if f'{name}.residual.0.weight' in state:
        weight, bias = state[f'{name}.residual.0.weight'], state[f'{name}.residual.0.bias']
        x = batch_norm(F.conv2d(x, weight, bias, stride), state, f'{name}.residual.1')
    return (y + x).relu()


def released_features(state: dict, x: Tensor) -> Tensor:
    """Return the pooled features (N, C') of skeletons (N, M, T, V, C).

    Args:
        state: tensors of one encoder, without the prefix ``encoder_q.``.
        x: preprocessed skeletons.
    """
    n, m, t, v, c = x.shape
    x = batch_norm(x.permute(0, 1, 3, 4, 2).reshape(n * m, v * c, t), state, 'data_bn')
    x = x.view(n * m, v, c, t).permute(0, 2, 3, 1)  # (N * M, C, T, V)
    for i in range(len(STRIDES)):
        x = block(x, state, i)
    return x.mean(dim=(2, 3)).view(n, m, -1).mean(dim=1)
