"""Conventions of the field, typed by hand: bones, edges and mirror images of the joint layouts."""


def _pairs(text: str) -> list[tuple[int, int]]:
    return [tuple(map(int, pair.split('-'))) for pair in text.split()]


def _numbers(text: str) -> list[int]:
    return list(map(int, text.split()))


# NTU RGB+D: 1-based joint and neighbor towards the center
NTU_BONES = _pairs(
    """
    1-2 2-21 3-21 4-3 5-21 6-5 7-6 8-7 9-21 10-9 11-10 12-11 13-1 14-13 15-14 16-15 17-1 18-17
    19-18 20-19 21-21 22-23 23-8 24-25 25-12
    """
)
NTU_MIRROR = _numbers('0 1 2 3 8 9 10 11 4 5 6 7 16 17 18 19 12 13 14 15 20 23 24 21 22')

# NW-UCLA: 1-based edges
UCLA_EDGES = _pairs(
    """
    1-2 2-3 4-3 5-3 6-5 7-6 8-7 9-3 10-9 11-10 12-11 13-1 14-13 15-14 16-15 17-1 18-17 19-18
    20-19
    """
)
UCLA_MIRROR = _numbers('0 1 2 3 8 9 10 11 4 5 6 7 16 17 18 19 12 13 14 15')

# COCO: 0-based, as in mmaction2
COCO_BONES = _pairs(
    """
    0-0 1-0 2-0 3-1 4-2 5-0 6-0 7-5 8-6 9-7 10-8 11-0 12-0 13-11 14-12 15-13 16-14
    """
)
COCO_EDGES = _pairs('15-13 13-11 16-14 14-12 11-5 12-6 9-7 7-5 10-8 8-6 5-0 6-0 1-0 3-1 2-0 4-2')
COCO_MIRROR = _numbers('0 2 1 4 3 6 5 8 7 10 9 12 11 14 13 16 15')
