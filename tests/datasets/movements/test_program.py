"""Variants of movement programs."""

from collections import Counter

import torch

from aimclr_mm.datasets.movements.program import Program, random_families, random_programs

PARTS = {
    'targets': {'hands.target'},
    'oscillation': {
        f'hands.{field}' for field in ('amplitude', 'frequency', 'axes', 'roundness', 'window')
    },
    'timing': {
        'hands.alternate',
        *('timing.start', 'timing.length', 'timing.used'),
        *('timing.cycles', 'timing.periodic', 'timing.from_rest'),
    },
}


def differing_fields(a: Program, b: Program, row: int) -> set[str]:
    return {
        f'{name}.{field}'
        for name, part in vars(a).items()
        for field, value in vars(part).items()
        if not torch.equal(value[row], getattr(getattr(b, name), field)[row])
    }


def test_members_of_a_family_differ_in_one_part():
    torch.manual_seed(0)
    n = 200
    programs = random_families(n, 3)
    assert len(programs) == 3 * n
    first = programs.take(torch.arange(n))

    found = Counter()
    for member in (1, 2):
        variants = programs.take(torch.arange(member * n, (member + 1) * n))
        for row in range(n):
            fields = differing_fields(first, variants, row)
            names = [name for name, part in PARTS.items() if fields and fields <= part]
            if names:
                assert first.hands.active[row].any()
                found[names[0]] += 1
            else:
                found['another program'] += 1
                assert len(fields) > 10

    assert set(found) == {*PARTS, 'another program'}
    assert found['another program'] < n
    assert found['targets'] > found['timing'] > found['oscillation'] > 20


def test_a_single_new_target_is_one_that_shows():
    torch.manual_seed(1)
    programs = random_families(300, 2)
    first, second = programs.take(torch.arange(300)), programs.take(torch.arange(300, 600))
    for row in range(300):
        if differing_fields(first, second, row) == {'hands.target'}:
            differs = (first.hands.target[row] != second.hands.target[row]).any(-1).any(0)
            assert differs[1]  # the first one after the posture at rest


def test_a_family_of_one_is_a_program():
    torch.manual_seed(3)
    family = random_families(5, 1)
    torch.manual_seed(3)
    programs = random_programs(5)
    assert all(not differing_fields(family, programs, row) for row in range(5))
