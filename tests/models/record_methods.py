"""Record what the released code of later methods computes, for ``test_methods_released.py``.

    python -m tests.models.record_methods hiclr PATH       # a checkout of JHang2020/HiCLR
    python -m tests.models.record_methods pstl PATH        # YujieOuO/PSTL; needs einops
    python -m tests.models.record_methods skelemix PATH    # czhaneva/SkeleMixCLR
    python -m tests.models.record_methods aimclr_pp PATH   # Levigty/AimCLR-v2

The code runs on the CPU as it is, with parameters and inputs given by formulas; ``cuda()``, the
queue, which needs the index of a GPU, and libraries that only read files are replaced. Each call
updates its part of ``tests/data/methods.json``.
"""

import json
import pydoc
import random
import sys
import types
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from tests.models.test_released import parameter, tensor, wave

FILE = Path(__file__).parents[1] / 'data' / 'methods.json'
N, T, K, D, TAU = 4, 16, 24, 8, 0.1
SIZES = dict(hidden_channels=4, hidden_dim=16, feature_dim=D, queue_size=K, Temperature=TAU)
PUBLIC = dict(SIZES, base_encoder='net.st_gcn.Model', dropout=0.5, momentum=1.0)


def clips(k: int) -> np.ndarray:
    """Return skeletons (N, 2, T, 25, 3) of different movements, with noise number k."""
    n, m, t, v, c = np.ogrid[:N, :2, :T, :25, :3]
    base = np.sin((0.5 + 0.6 * n) * t + 1.7 * n * n + 1.3 * c * (n + 1) + 0.9 * m + 0.7 * v)
    return base + 0.3 * wave((N, 2, T, 25, 3), k)


def released_layout(x: np.ndarray) -> torch.Tensor:
    """Return skeletons (N, M, T, V, C) as (N, C, T, V, M)."""
    return tensor(x.transpose(0, 4, 2, 3, 1))


def mask_of_joints() -> np.ndarray:
    """Return a mask (T, V) with two joints in each frame."""
    mask = np.zeros((T, 25), dtype=bool)
    for t in range(T):
        mask[t, [(3 * t) % 25, (3 * t + 7) % 25]] = True
    return mask


def fill(network: torch.nn.Module, k: int) -> None:
    """Set the parameters and statistics of an encoder by formulas of their names."""
    state = network.state_dict()
    names = sorted(n for n in state if n != 'A' and not n.endswith('num_batches_tracked'))
    for i, name in enumerate(names):
        state[name] = tensor(parameter(tuple(state[name].shape), name, i + k))
    network.load_state_dict(state)


def center(network: torch.nn.Module, x: torch.Tensor) -> list[float]:
    """Set the last bias so that the embeddings of x have mean zero; return it.

    Otherwise all embeddings point almost in the same direction.
    """
    with torch.no_grad():
        last = list(network.fc)[-1]
        last.bias.zero_()
        last.bias.copy_(-network(x).mean(dim=0))
    return last.bias.tolist()


def queue(k: int) -> torch.Tensor:
    """Return unit keys (K, D)."""
    return F.normalize(tensor(wave((K, D), k)), dim=1)


def prepare(path: str) -> None:
    """Make a checkout importable and keep it on the CPU."""
    sys.path.insert(0, path)
    stub = types.ModuleType('torchlight')  # of which only this is needed
    stub.import_class = pydoc.locate
    sys.modules['torchlight'] = sys.modules['torchlight.torchlight'] = stub
    torch.Tensor.cuda = lambda self, *args, **kwargs: self
    torch.nn.Module.cuda = lambda self, *args, **kwargs: self


def log(p: torch.Tensor, q: torch.Tensor) -> float:
    """Return the cross entropy of the trainers: -sum log(p) q, mean over samples."""
    return -(torch.log(p) * q).sum(dim=1).mean().item()


def mined(logits: torch.Tensor, mask: torch.Tensor) -> float:
    """Return the mining loss of the trainers."""
    return (-(F.log_softmax(logits, dim=1) * mask).sum(1) / mask.sum(1)).mean().item()


def indices(mask: torch.Tensor) -> list[list[int]]:
    """Return the columns of a mask that are set, row by row."""
    return [row.nonzero().flatten().tolist() for row in mask]


@torch.no_grad()
def record_hiclr() -> dict:
    """Return logits, positives and losses of both stages of HiCLR."""
    from net.hiclr import HiCLR

    model = HiCLR(**PUBLIC, dropout_graph=0.0, add_graph=0.0).eval()
    model._dequeue_and_enqueue = lambda keys: None
    query, key, strong, masked = (released_layout(clips(k)) for k in (5, 6, 7, 8))
    result = dict(biases={})
    for i, (side, network) in enumerate((('q', model.encoder_q), ('k', model.encoder_k))):
        fill(network, 50 * i)
        result['biases'][side] = center(network, query)
    model.queue.copy_(queue(6).T)
    model.mask_param.fill_(0.3)

    keep = tensor(~mask_of_joints())[None, :, None, :, None].expand(N, T, 2, 25, 3)
    inputs = dict(im_q_1=strong, im_q_2=masked, im_q=query, im_k=key, mask=keep)
    logits, labels, p1, p2, t1, t2 = model.forward_pretrain_wmask(**inputs)
    result['logits'] = logits.flatten().tolist()
    result['first'] = dict(
        info=F.cross_entropy(logits, labels).item(), d3m=[log(p1, t1), log(p2, t2)]
    )
    logits, positives, p1, p2, t1, t2 = model.forward_pretrain_wmask(**inputs, nnm=True, topk=1)
    result['second'] = dict(
        nnm=mined(logits, positives), d3m=[log(p1, t1), log(p2, t2)], positives=indices(positives)
    )
    return result


@torch.no_grad()
def record_aimclr_pp() -> dict:
    """Return losses and positives of the three stages, each stream with its own head."""
    from net.aimclr_v2_3views import AimCLR_v2_3views

    model = AimCLR_v2_3views(**PUBLIC).eval()
    query, key, extreme = (released_layout(clips(k)) for k in (5, 6, 7))
    result = dict(biases={})
    for i, (stream, suffix) in enumerate((('joint', ''), ('bone', '_bone'), ('motion', '_motion'))):
        for j, side in enumerate('qk'):
            network = getattr(model, f'encoder_{side}{suffix}')
            linear = torch.nn.Linear(16, D)
            network.fc = torch.nn.Sequential(torch.nn.Linear(16, 16), torch.nn.ReLU(), linear)
            fill(network, 200 * i + 10 * j)
            x = model_stream(model, query, stream)
            result['biases'][f'{stream}.{side}'] = center(network, x)
        getattr(model, f'queue{suffix}').copy_(queue(6 + i).T)
        setattr(model, f'_dequeue_and_enqueue{suffix}', lambda keys: None)

    j, m, b, target, je, jl, me, ml, be, bl = model(extreme, query, key)
    streams = dict(joint=(j, je, jl), motion=(m, me, ml), bone=(b, be, bl))
    result['first'] = {
        name: [F.cross_entropy(x, target).item(), log(p, t)] for name, (x, p, t) in streams.items()
    }
    j, jp, m, mp, b, bp, *_ = model(extreme, query, key, mine=True, topk=4)
    result['second'] = {
        name: dict(nnm=mined(x, p), positives=indices(p))
        for name, x, p in (('joint', j, jp), ('motion', m, mp), ('bone', b, bp))
    }
    j, m, b, positives, *_ = model(extreme, query, key, cross=True, topk=10, vote=2)
    result['third'] = dict(
        positives=indices(positives),
        **{name: mined(x, positives) for name, x in (('joint', j), ('motion', m), ('bone', b))},
    )
    return result


def model_stream(model: torch.nn.Module, x: torch.Tensor, stream: str) -> torch.Tensor:
    """Return a stream of joints (N, C, T, V, M), with the bones of the released model."""
    y = torch.zeros_like(x)
    if stream == 'joint':
        return x
    if stream == 'motion':
        y[:, :, :-1] = x[:, :, 1:] - x[:, :, :-1]
    else:
        for a, b in model.Bone:
            y[:, :, :, a - 1] = x[:, :, :, a - 1] - x[:, :, :, b - 1]
    return y


@torch.no_grad()
def record_skelemix() -> dict:
    """Return drawn regions, mixed clips and losses of two mixings, with the graph of ST-GCN.

    The repository has that graph, too, but its encoder uses the one of 2s-AGCN.
    """
    from net.skeletonclr_multi_swap import SkeletonCLR
    from net.utils.graph import Graph

    sizes = dict(PUBLIC, base_encoder='net.st_gcn_swap.Model')
    model = SkeletonCLR(**sizes, spa_l=2, spa_u=3, tem_l=1, tem_u=3, repeat=2).eval()
    model._dequeue_and_enqueue = lambda keys, label: None
    query, key = (released_layout(clips(k)) for k in (5, 6))
    result = dict(biases={})
    for i, (side, network) in enumerate((('q', model.encoder_q), ('k', model.encoder_k))):
        fill(network, 50 * i)
        network.A.copy_(tensor(Graph('ntu-rgb+d', 'spatial').A))
        result['biases'][side] = center(network, query)
    model.queue.copy_(queue(6).T)

    drawn, draw = [], model.ske_swap

    def record(x: torch.Tensor) -> tuple:
        mates, mixed, mask = draw(x)
        drawn.append(dict(shift=int(mates[0]), mask=indices(mask)))
        drawn[-1]['mixed'] = mixed.permute(0, 4, 2, 3, 1).flatten()[::37].tolist()
        return mates, mixed, mask

    model.ske_swap = record
    random.seed(1)
    torch.manual_seed(1)
    logits, _, inside, _, outside, _, _, _ = model(query, key, torch.zeros(N))
    own = torch.zeros(N, dtype=torch.long)
    result['drawn'] = drawn
    result['info'] = F.cross_entropy(logits, own).item()
    result['inside'] = [F.cross_entropy(x, own).item() for x in inside]
    result['outside'] = [F.cross_entropy(x, own).item() for x in outside]
    return result


@torch.no_grad()
def record_pstl() -> dict:
    """Return kept frames, features of the three views and losses, with batch norm in training."""
    stub = types.ModuleType('sacred')
    capture = dict(capture=staticmethod(lambda f: f), config=staticmethod(lambda f: f))
    stub.Experiment = type('Experiment', (), dict(capture, __init__=lambda *a, **k: None))
    sys.modules['sacred'] = stub
    import model as released
    from module.gcn.st_gcn import Model

    network = Model(
        in_channels=3,
        hidden_channels=4,
        hidden_dim=16,
        dropout=0.0,
        graph_args=dict(layout='ntu-rgb+d', strategy='spatial'),
        edge_importance_weighting=True,
    ).train()
    fill(network, 0)
    twins = released.BTwins(hidden_size=16, lambd=2e-2, pj_size=12).train()
    state = twins.projector.state_dict()
    for i, name in enumerate(sorted(n for n in state if not n.endswith('batches_tracked'))):
        k = '1d.' + name if state[name].ndim == 1 else name
        state[name] = tensor(parameter(tuple(state[name].shape), k, 70 + i))
    twins.projector.load_state_dict(state)

    whole, frames, joints = (released_layout(clips(k)) for k in (5, 6, 7))
    random.sample = lambda population, count: [i for i in population if i % 4 != 3][:count]
    kept = released.motion_att_temp_mask(frames, 3)
    lost = [0, 3, 8, 9, 20, 21, 23, 24]
    features = [network(whole), network(kept), network(joints, lost)]
    return dict(
        lost=lost,
        kept=kept.permute(0, 4, 2, 3, 1).flatten()[::37].tolist(),
        features=[x.flatten().tolist() for x in features],
        losses=[twins(features[0], x).item() for x in features[1:]],
    )


def main() -> None:
    """Record one method."""
    method, path = sys.argv[1:]
    prepare(path)
    recorded = json.loads(FILE.read_text()) if FILE.exists() else {}
    recorded[method] = globals()[f'record_{method}']()
    FILE.write_text(json.dumps(recorded, indent=None) + '\n')


if __name__ == '__main__':
    main()
