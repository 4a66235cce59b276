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

# joints by the numbers of their projects, as printed in their documentation
PROJECT_JOINTS = {
    'openni15': (
        'Head Neck Torso LeftShoulder LeftElbow LeftHand RightShoulder RightElbow RightHand '
        'LeftHip LeftKnee LeftFoot RightHip RightKnee RightFoot'
    ),
    'azure32': (
        'Pelvis SpineNavel SpineChest Neck ClavicleLeft ShoulderLeft ElbowLeft WristLeft HandLeft '
        'HandTipLeft ThumbLeft ClavicleRight ShoulderRight ElbowRight WristRight HandRight '
        'HandTipRight ThumbRight HipLeft KneeLeft AnkleLeft FootLeft HipRight KneeRight AnkleRight '
        'FootRight Head Nose EyeLeft EarLeft EyeRight EarRight'
    ),
    'mediapipe33': (
        'Nose LeftEyeInner LeftEye LeftEyeOuter RightEyeInner RightEye RightEyeOuter LeftEar '
        'RightEar MouthLeft MouthRight LeftShoulder RightShoulder LeftElbow RightElbow LeftWrist '
        'RightWrist LeftPinky RightPinky LeftIndex RightIndex LeftThumb RightThumb LeftHip '
        'RightHip LeftKnee RightKnee LeftAnkle RightAnkle LeftHeel RightHeel LeftFootIndex '
        'RightFootIndex'
    ),
    'openpose18': (
        'Nose Neck RShoulder RElbow RWrist LShoulder LElbow LWrist RHip RKnee RAnkle LHip LKnee '
        'LAnkle REye LEye REar LEar'
    ),
    'openpose25': (
        'Nose Neck RShoulder RElbow RWrist LShoulder LElbow LWrist MidHip RHip RKnee RAnkle LHip '
        'LKnee LAnkle REye LEye REar LEar LBigToe LSmallToe LHeel RBigToe RSmallToe RHeel'
    ),
    'halpe26': (
        'Nose LEye REye LEar REar LShoulder RShoulder LElbow RElbow LWrist RWrist LHip RHip LKnee '
        'RKnee LAnkle RAnkle Head Neck Hip LBigToe RBigToe LSmallToe RSmallToe LHeel RHeel'
    ),
}

# 0-based pairs of left and right joints
PROJECT_MIRROR = {
    'openni15': _pairs('3-6 4-7 5-8 9-12 10-13 11-14'),
    'azure32': _pairs('4-11 5-12 6-13 7-14 8-15 9-16 10-17 18-22 19-23 20-24 21-25 28-30 29-31'),
    'mediapipe33': _pairs(
        '1-4 2-5 3-6 7-8 9-10 11-12 13-14 15-16 17-18 19-20 21-22 23-24 25-26 27-28 29-30 31-32'
    ),
    'openpose18': _pairs('2-5 3-6 4-7 8-11 9-12 10-13 14-15 16-17'),
    'openpose25': _pairs('2-5 3-6 4-7 9-12 10-13 11-14 15-16 17-18 19-22 20-23 21-24'),
    'halpe26': _pairs('1-2 3-4 5-6 7-8 9-10 11-12 13-14 15-16 20-21 22-23 24-25'),
}

# 0-based bones that the projects draw; Azure Kinect's hierarchy without the pelvis
PROJECT_BONES = {
    'openni15': _pairs('0-1 1-3 3-4 4-5 1-6 6-7 7-8 1-2 2-9 9-10 10-11 2-12 12-13 13-14'),
    'azure32': _pairs(
        """
        1-0 2-1 3-2 4-2 5-4 6-5 7-6 8-7 9-8 10-7 11-2 12-11 13-12 14-13 15-14 16-15 17-14 18-0 19-18
        20-19 21-20 22-0 23-22 24-23 25-24 26-3 27-26 28-26 29-26 30-26 31-26
        """
    ),
    'mediapipe33': _pairs(
        """
        0-1 1-2 2-3 3-7 0-4 4-5 5-6 6-8 9-10 11-12 11-13 13-15 15-17 15-19 15-21 17-19 12-14 14-16
        16-18 16-20 16-22 18-20 11-23 12-24 23-24 23-25 24-26 25-27 26-28 27-29 28-30 29-31 30-32
        27-31 28-32
        """
    ),
    'openpose25': _pairs(
        """
        1-8 1-2 1-5 2-3 3-4 5-6 6-7 8-9 9-10 10-11 8-12 12-13 13-14 1-0 0-15 15-17 0-16 16-18 14-19
        19-20 14-21 11-22 22-23 11-24
        """
    ),
    'halpe26': _pairs(
        """
        0-1 0-2 1-3 2-4 5-18 6-18 5-7 7-9 6-8 8-10 17-18 18-19 19-11 19-12 11-13 12-14 13-15 14-16
        20-24 21-25 23-25 22-24 15-24 16-25
        """
    ),
}
