"""The interface for notebooks: recordings, encoders, classifiers, neighbors."""

import json

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from scipy.spatial.distance import cdist
from sklearn.linear_model import LogisticRegression

from aimclr_mm.apis import (
    EmbeddingClassifier,
    EmbeddingInferencer,
    Windows,
    fit_classifier,
    leave_one_out,
    load_encoder,
    nearest,
    read_recordings,
)
from aimclr_mm.datasets import write_pickle
from aimclr_mm.datasets.readers.synthetic import Synthetic
from aimclr_mm.evaluation.evaluate import build_model, evaluate, extract_features, readout_config
from aimclr_mm.evaluation.results import EmbeddingSet
from aimclr_mm.evaluation.whitening import whiten
from aimclr_mm.skeletons import NTU25, get_layout, map_layout
from tests.datasets.readers.ntu_files import expected, skeleton_file
from tests.datasets.readers.test_utd_mhad import mat, skeleton
from tests.runs import ROOT

CONFIG = f"""
_base_ = '{ROOT}/configs/aimclr_synthetic_xsub_joint.py'
model = dict(backbone=dict(base_channels=2, out_channels=6), head=dict(in_channels=6))
test_dataloader = dict(dataset=dict(ann_file='{{data}}'))
"""
RNG = np.random.default_rng(0)


def walk(frames: int, people: int = 1, joints: int = 25) -> np.ndarray:
    """Return a random walk (M, T, V, 3) of independent joints."""
    steps = RNG.normal(size=(people, frames, joints, 3)).cumsum(axis=1) / 10
    return (RNG.normal(size=(people, 1, joints, 3)) + steps).astype(np.float32)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Synthetic data, a small config, and a checkpoint of an untrained network."""
    folder = tmp_path_factory.mktemp('apis')
    write_pickle(Synthetic((), 2, 3, 1).dataset(), str(folder / 'data.pkl'))
    (folder / 'tiny.py').write_text(CONFIG.format(data=folder / 'data.pkl'))
    torch.manual_seed(0)
    encoder = load_encoder(folder / 'tiny.py', 'random')
    state = encoder.model.state_dict()
    for name, value in state.items():
        if name.endswith('running_mean'):
            value.normal_(0, 1 / 9)
        elif name.endswith('running_var'):
            value.uniform_(0, 1)
    torch.save(dict(state_dict=state), folder / 'tiny.pth')
    return folder


@pytest.fixture(scope='module')
def encoder(folder):
    return load_encoder(folder / 'tiny.py', folder / 'tiny.pth')


def test_embeddings_equal_evaluated_features(folder):
    encoder = load_encoder(folder / 'tiny.py', folder / 'tiny.pth', missing='keep')
    cfg = Config.fromfile(folder / 'tiny.py')
    cfg.work_dir = str(folder / 'work')
    features = extract_features(cfg, str(folder / 'tiny.pth'))
    recordings = {r['frame_dir']: r for r in read_recordings(folder / 'data.pkl', encoder.layout)}
    embedded = encoder.embed([recordings[name] for name in features.names])
    assert len(features.names) > 40 and np.ptp(features.features, axis=0).max() > 0.01
    np.testing.assert_allclose(embedded, features.features, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('readout', ['mean_std', 'segments', 'parts', 'cells'])
def test_readout_of_the_inferencer_equals_that_of_the_evaluation(folder, encoder, readout):
    checkpoint = str(folder / 'tiny.pth')
    cfg = readout_config(Config.fromfile(folder / 'tiny.py'), readout)
    cfg.work_dir = str(folder / 'work')
    features = extract_features(cfg, checkpoint)
    recordings = {r['frame_dir']: r for r in read_recordings(folder / 'data.pkl', encoder.layout)}
    sequences = [recordings[name] for name in features.names[:20]]

    as_evaluated = load_encoder(folder / 'tiny.py', checkpoint, readout=readout, missing='keep')
    found = as_evaluated.embed(sequences)
    np.testing.assert_allclose(found, features.features[:20], rtol=1e-4, atol=1e-6)
    chosen = load_encoder(folder / 'tiny.py', checkpoint, readout=readout)
    by_config = load_encoder(cfg, checkpoint)
    assert by_config.readout == readout
    assert by_config.fingerprint == chosen.fingerprint == f'{encoder.fingerprint}:{readout}'


def test_readout_of_each_stream():
    x = walk(20)
    widths = {
        readout: load_encoder('generated-3s', device='cpu', readout=readout).embed([x]).shape[1]
        for readout in ('mean', 'segments')
    }
    assert widths['segments'] == 3 * widths['mean']


def test_gallery_of_another_readout_is_refused_by_name(folder, encoder):
    other = load_encoder(folder / 'tiny.py', folder / 'tiny.pth', readout='segments')
    np.save(folder / 'gallery.npy', walk(20)[0])
    other.embed_recordings(folder / 'gallery.npy').save(folder / 'gallery.npz')
    assert len(other.embed_recordings(folder / 'gallery.npz').features) == 1
    with pytest.raises(
        ValueError, match="made with the readout 'segments', this encoder has 'mean'"
    ):
        encoder.embed_recordings(folder / 'gallery.npz')
    with pytest.raises(ValueError, match="readout='max'; choose from 'mean', 'mean_std'"):
        load_encoder(folder / 'tiny.py', 'random', readout='max')


def test_embedding_does_not_depend_on_the_input_form(folder, encoder):
    keypoint = walk(31)
    np.save(folder / 'one.npy', keypoint)
    (folder / 'one.json').write_text(json.dumps(keypoint[0].tolist()))
    forms = [
        keypoint,
        keypoint[0],
        keypoint[0].astype(np.float64),
        torch.from_numpy(keypoint),
        dict(keypoint=keypoint, total_frames=31),
        str(folder / 'one.npy'),
        folder / 'one.json',
    ]
    expected = encoder.embed(keypoint)
    assert expected.shape == (1, 6) and expected.dtype == np.float32
    for form in forms:
        np.testing.assert_array_equal(encoder.embed(form), expected)
        np.testing.assert_array_equal(encoder.embed([form]), expected)
    np.testing.assert_allclose(
        encoder.embed(forms), np.repeat(expected, len(forms), axis=0), rtol=1e-5, atol=1e-6
    )


def test_lists_of_different_lengths_and_people_keep_their_order(encoder):
    sequences = [
        walk(frames, people) for frames, people in ((1, 1), (5, 2), (24, 1), (400, 2), (60, 3))
    ]
    singles = np.concatenate([encoder.embed(sequence) for sequence in sequences])
    for size in (1, 2, 64):
        np.testing.assert_allclose(
            encoder.embed(sequences, batch_size=size), singles, rtol=1e-4, atol=1e-5
        )
    assert cdist(singles, singles).max() > 0.01


def test_inferencer_is_called_like_those_of_mmengine(encoder):
    sequences = [walk(9), walk(12)]
    result = encoder(sequences, batch_size=2)
    assert set(result) == {'predictions', 'visualization'}
    json.dumps(result)
    found = np.array(
        [prediction['embedding'] for prediction in result['predictions']], dtype=np.float32
    )
    np.testing.assert_array_equal(found, encoder.embed(sequences))
    sample = encoder(sequences[0], return_datasamples=True)['predictions'][0]
    assert sample.feature.shape == (6,)


@pytest.mark.parametrize(
    'sequences, message',
    [
        (np.zeros((3, 4)), r'shape \(3, 4\).*give numbers'),
        (np.zeros((2, 3, 4, 25, 3)), 'several sequences as a list'),
        (np.zeros((5, 20, 3)), 'has 20 joints; the layout ntu25 has 25'),
        (np.zeros((5, 25, 2)), 'has 2 values a joint'),
        (np.full((5, 25, 3), np.inf), 'a coordinate of frame 0.*is not finite'),
        (np.full((5, 25, 3), 1e7), 'must not exceed 1000000'),
        (np.zeros((0, 25, 3)), 'no axis may be empty'),
        (np.full((5, 25, 3), 'x'), 'give numbers'),
        ([walk(4), np.zeros((5, 20, 3))], 'sequence 1 has 20 joints'),
        ([], 'sequences='),
        (None, 'sequences=None'),
        ([None], 'sequence 0 has shape'),
        (dict(total_frames=3), "'keypoint' of '0: sequence 0' has shape None"),
    ],
)
def test_invalid_sequences_are_named(encoder, sequences, message):
    with pytest.raises(ValueError, match=message):
        encoder.embed(sequences)


def test_mismatched_encoders_are_refused(folder):
    with pytest.raises(FileNotFoundError, match='none.pth'):
        load_encoder(folder / 'tiny.py', folder / 'none.pth')
    with pytest.raises(ValueError, match='does not fit the network of the config'):
        load_encoder(ROOT / 'configs/aimclr_synthetic_xsub_joint.py', folder / 'tiny.pth')
    with pytest.raises(ValueError, match='is a program, and is not run'):
        EmbeddingInferencer(None, str(folder / 'tiny.pth'))
    with pytest.raises(ValueError, match='cannot be used here'):
        load_encoder(folder / 'tiny.py', folder / 'tiny.pth', device='cuda:77')


def test_streams_of_a_joint_training(folder):
    from aimclr_mm.utils.overlays import read_config

    cfg = read_config(str(folder / 'tiny.py'), [str(ROOT / 'configs/methods/crosclr.py')])
    both = load_encoder(cfg, 'random')
    torch.save(dict(state_dict=both.model.state_dict()), folder / 'streams.pth')
    joint, bone, motion = (
        load_encoder(cfg, folder / 'streams.pth', stream=s) for s in ('joint', 'bone', 'motion')
    )
    sequences = [walk(20), walk(30)]
    unit = [
        h / np.linalg.norm(h, axis=1, keepdims=True)
        for h in (e.embed(sequences) for e in (joint, bone, motion))
    ]
    expected = np.concatenate([np.sqrt(w) * h for w, h in zip((0.6, 0.6, 0.4), unit)], axis=1)
    everything = load_encoder(cfg, folder / 'streams.pth')
    np.testing.assert_allclose(everything.embed(sequences), expected, rtol=1e-5, atol=1e-6)
    assert len({e.fingerprint for e in (joint, bone, motion, everything)}) == 4
    with pytest.raises(ValueError, match="stream='depth'"):
        load_encoder(cfg, folder / 'streams.pth', stream='depth')


def test_the_encoder_of_a_classifier_embeds(folder):
    from aimclr_mm.utils.overlays import read_config

    cfg = read_config(str(folder / 'tiny.py'), [str(ROOT / 'configs/protocols/finetune.py')])
    pretrained, classifier = (
        load_encoder(folder / 'tiny.py', folder / 'tiny.pth'),
        load_encoder(cfg, 'random'),
    )
    classifier.model.backbone.load_state_dict(pretrained.model.encoder.backbone.state_dict())
    sequence = walk(40)
    np.testing.assert_allclose(classifier.embed(sequence), pretrained.embed(sequence), rtol=1e-6)


@pytest.mark.parametrize('kind', ['backbone', 'classifier', 'classifiers of streams'])
def test_the_encoder_of_any_checkpoint_embeds(folder, encoder, kind):
    state = {f'backbone.{k}': v for k, v in encoder.model.encoder.backbone.state_dict().items()}
    if kind == 'backbone':
        state = {f'encoder.{name}': value for name, value in state.items()}
    else:
        state['cls_head.fc.weight'] = torch.zeros(3, 6)
    stream = 'bone' if 'streams' in kind else None
    if stream:
        state = {f'streams.{s}.{name}': v for s in ('joint', stream) for name, v in state.items()}
    torch.save(dict(state_dict=state), folder / 'kind.pth')

    loaded = load_encoder(folder / 'tiny.py', folder / 'kind.pth', stream=stream)
    assert loaded.fingerprint == encoder.fingerprint
    cfg = Config.fromfile(folder / 'tiny.py')
    cfg.work_dir = str(folder / 'work')
    backbone = build_model(cfg, str(folder / 'kind.pth'), stream=stream).encoder.backbone
    for name, value in encoder.model.encoder.backbone.state_dict().items():
        assert torch.equal(backbone.state_dict()[name].cpu(), value.cpu()), name
    if stream:
        joint = evaluate(cfg, str(folder / 'kind.pth'), ['knn'])  # the stream of the config
        assert joint == evaluate(cfg, str(folder / 'kind.pth'), ['knn'], stream='joint')
        cfg.model.data_preprocessor.stream = 'motion'
        with pytest.raises(ValueError, match='holds the streams joint, bone; name one of them'):
            evaluate(cfg, str(folder / 'kind.pth'), ['knn'])
        cfg.model.data_preprocessor.stream = 'joint'
    metrics = evaluate(cfg, str(folder / 'kind.pth'), ['knn'], stream=stream)
    assert metrics == evaluate(cfg, str(folder / 'tiny.pth'), ['knn'])


def test_a_classifier_config_embeds_with_a_pre_training(folder, encoder):
    from aimclr_mm.utils.overlays import read_config

    cfg = read_config(str(folder / 'tiny.py'), [str(ROOT / 'configs/protocols/finetune.py')])
    assert load_encoder(cfg, folder / 'tiny.pth').fingerprint == encoder.fingerprint
    cfg.work_dir = str(folder / 'work')
    with pytest.raises(ValueError, match='holds an encoder, but no classifier.*without'):
        build_model(cfg, str(folder / 'tiny.pth'))


def test_fingerprint_depends_on_weights_and_preprocessing(folder, encoder):
    assert load_encoder(folder / 'tiny.py', folder / 'tiny.pth').fingerprint == encoder.fingerprint
    state = torch.load(folder / 'tiny.pth', weights_only=True)['state_dict']
    state['encoder.backbone.gcn.0.gcn.PA'][0, 0, 0] += 1e-4
    torch.save(dict(state_dict=state), folder / 'other.pth')
    assert load_encoder(folder / 'tiny.py', folder / 'other.pth').fingerprint != encoder.fingerprint
    cfg = Config.fromfile(folder / 'tiny.py')
    cfg.model.data_preprocessor.stream = 'bone'  # not stored in checkpoints
    assert load_encoder(cfg, folder / 'tiny.pth').fingerprint != encoder.fingerprint
    cfg = Config.fromfile(folder / 'tiny.py')
    cfg.test_dataloader.dataset.preprocess[1].length = 30
    assert load_encoder(cfg, folder / 'tiny.pth').fingerprint != encoder.fingerprint


def test_fingerprint_of_the_config_in_a_work_directory(folder, encoder):
    """A training leaves its config with the settings in alphabetical order."""
    cfg = Config.fromfile(folder / 'tiny.py')
    cfg.dump(folder / 'left.py')
    left = Config.fromfile(folder / 'left.py')
    steps, sorted_steps = (c.test_dataloader.dataset.preprocess for c in (cfg, left))
    assert [list(step) for step in steps] != [list(step) for step in sorted_steps]
    assert load_encoder(folder / 'left.py', folder / 'tiny.pth').fingerprint == encoder.fingerprint


def test_a_random_encoder_is_the_same_in_every_command(folder):
    """A gallery embedded by one command can be searched by the next."""
    cfg = Config.fromfile(folder / 'tiny.py')
    state = torch.random.get_rng_state()
    first, second = (load_encoder(cfg, 'random').fingerprint for _ in range(2))
    assert first == second and torch.equal(torch.random.get_rng_state(), state)
    cfg.randomness.seed += 1
    assert load_encoder(cfg, 'random').fingerprint != first


def test_folders_give_labels_and_manifests_too(tmp_path, encoder):
    for name in ('walk/a', 'walk/b', 'jump/a', 'loose'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        np.save(tmp_path / f'{name}.npy', walk(6))
    found = {r['frame_dir']: r['label'] for r in read_recordings(tmp_path)}
    assert found == {
        str(tmp_path / f'{name}.npy'): label
        for name, label in (
            ('loose', None),
            ('jump/a', 'jump'),
            ('walk/a', 'walk'),
            ('walk/b', 'walk'),
        )
    }
    (tmp_path / 'list.csv').write_text(
        'path,label,name\nwalk/a.npy,stroll,first\nloose.npy,,second\n'
    )
    found = [(r['frame_dir'], r['label']) for r in read_recordings(tmp_path / 'list.csv')]
    assert found == [('first', 'stroll'), ('second', None)]
    embedded = encoder.embed_recordings(tmp_path / 'walk')
    assert (
        embedded.labels.tolist() == ['', '']
        and embedded.sources.tolist() == embedded.names.tolist()
    )


def test_annotation_files_give_names_of_classes(tmp_path):
    annotations = [
        dict(
            frame_dir=f's{i}', keypoint=walk(5), total_frames=5, **({} if i == 2 else dict(label=i))
        )
        for i in range(4)
    ]
    content = dict(annotations=annotations, split={}, metainfo=dict(classes=['sit', 'stand']))
    write_pickle(content, str(tmp_path / 'a.pkl'))
    assert [r['label'] for r in read_recordings(tmp_path / 'a.pkl')] == ['sit', 'stand', None, '3']
    write_pickle(dict(content, metainfo=dict(preprocessed=True)), str(tmp_path / 'b.pkl'))
    with pytest.raises(ValueError, match='preprocessed sequences; give the original'):
        read_recordings(tmp_path / 'b.pkl')


def test_original_recordings_are_read(tmp_path):
    (tmp_path / 'S001C001P001R001A050.skeleton').write_bytes(skeleton_file([[0, 1], [0, 1], [0]]))
    (recording,) = read_recordings(tmp_path / 'S001C001P001R001A050.skeleton')
    np.testing.assert_allclose(recording['keypoint'], expected([[0, 1], [0, 1], [0]], 2), atol=1e-6)
    with pytest.raises(ValueError, match='joints'):
        read_recordings(tmp_path / 'S001C001P001R001A050.skeleton', 'kinect20')


def test_sequences_of_another_layout_are_mapped(encoder, tmp_path):
    pose = walk(9, joints=20)
    mapped = map_layout(pose, 'kinect20', 'ntu25')
    expected = encoder.embed(mapped)
    np.save(tmp_path / 'a.npy', pose)
    for form in (pose, dict(keypoint=pose, total_frames=9), tmp_path / 'a.npy'):
        np.testing.assert_array_equal(encoder.embed(form, layout='kinect20'), expected)
    (recording,) = read_recordings(tmp_path / 'a.npy', 'kinect20', 'ntu25')
    assert recording['mapped_from'] == 'kinect20'
    np.testing.assert_array_equal(recording['keypoint'], mapped)

    with pytest.raises(ValueError, match='20 joints'):
        encoder.embed(pose)
    with pytest.raises(ValueError, match="'0: sequence 0' has 25 joints"):
        encoder.embed(dict(keypoint=walk(9), total_frames=9), layout='kinect20')
    with pytest.raises(ValueError, match="'sequence 0': there are no rules.*'coco17' to 'ntu25'"):
        encoder.embed(walk(9, joints=17)[..., :2], layout='coco17')


def test_files_that_tell_their_layout_are_mapped(encoder, tmp_path):
    (tmp_path / 'a.mat').write_bytes(mat(skeleton(1)))
    (tmp_path / 'b.skeleton').write_bytes(skeleton_file([[0], [0]]))
    keypoint = walk(7, joints=20)
    content = dict(
        annotations=[dict(frame_dir='c', keypoint=keypoint, total_frames=7)],
        metainfo=dict(layout='kinect20'),
    )
    write_pickle(content, str(tmp_path / 'c.pkl'))
    recordings = read_recordings(tmp_path, encoder.layout, encoder.layout)
    assert [r['keypoint'].shape[2] for r in recordings] == [25] * 3
    assert [r.get('mapped_from') for r in recordings] == ['kinect20', None, 'kinect20']
    np.testing.assert_array_equal(
        encoder.embed_recordings(tmp_path).features[2:], encoder.embed(keypoint, layout='kinect20')
    )
    with pytest.raises(ValueError, match="a.mat' has the 20 joints of layout 'kinect20', not"):
        read_recordings(tmp_path, encoder.layout)


@pytest.mark.parametrize(
    'name, content, message',
    [
        ('a.avi', b'x', "extension '.avi'"),
        ('a.npy', b'x', 'not a readable .npy'),
        ('a.json', b'[1', 'not readable JSON'),
        ('a.skeleton', b'', 'is empty'),
        ('a.mat', b'x', 'not a readable .mat'),
        ('a.pkl', b'x', "a.pkl'"),
    ],
)
def test_unreadable_files_are_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        read_recordings(tmp_path / name, 'kinect20' if name.endswith('.mat') else 'ntu25')
    assert name in str(error.value)


def test_missing_and_duplicate_sources(tmp_path):
    with pytest.raises(FileNotFoundError, match='none'):
        read_recordings(tmp_path / 'none')
    with pytest.raises(ValueError, match='holds no file'):
        read_recordings(tmp_path)
    np.save(tmp_path / 'a.npy', walk(3))
    with pytest.raises(ValueError, match='two sequences have the name'):
        read_recordings([tmp_path / 'a.npy', tmp_path / 'a.npy'])


def blobs(classes, count: int = 7, channels: int = 5, spread: float = 0.4):
    """Return embeddings (N, C) around one direction per class, and labels."""
    centers = RNG.normal(size=(len(classes), channels))
    labels = np.repeat(classes, count)
    return (
        centers.repeat(count, axis=0) + spread * RNG.normal(size=(len(labels), channels))
    ) * 3, labels


@pytest.mark.parametrize('classes', [[3, 8], ['b', 'a', 'c']])
def test_classifier_equals_scikit_learn(classes):
    embeddings, labels = blobs(classes)
    queries, _ = blobs(classes)
    unit = [e / np.linalg.norm(e, axis=1, keepdims=True) for e in (embeddings, queries)]
    reference = LogisticRegression(C=7.0, class_weight='balanced', max_iter=5000).fit(
        unit[0], labels
    )
    classifier = fit_classifier(embeddings, labels, strength=7.0)
    np.testing.assert_allclose(
        classifier.probabilities(queries), reference.predict_proba(unit[1]), atol=1e-7
    )
    assert classifier.predict(queries).tolist() == reference.predict(unit[1]).tolist()
    # independent of the length of the embeddings
    np.testing.assert_array_equal(classifier.predict(17 * queries), classifier.predict(queries))


def test_classifier_file(tmp_path):
    embeddings, labels = blobs(['wave', 'sit'])
    classifier = fit_classifier(embeddings, labels)
    classifier.encoder = 'abc'
    classifier.save(tmp_path / 'c.npz')
    loaded = EmbeddingClassifier.load(str(tmp_path / 'c.npz'))
    assert (
        loaded.encoder == 'abc'
        and loaded.predict(embeddings).tolist() == classifier.predict(embeddings).tolist()
    )
    np.savez(
        tmp_path / 'd.npz',
        weight=classifier.weight,
        bias=classifier.bias * np.nan,
        classes=classifier.classes,
        encoder=np.array('abc'),
    )
    with pytest.raises(ValueError, match='bias must be finite'):
        EmbeddingClassifier.load(str(tmp_path / 'd.npz'))
    np.savez(
        tmp_path / 'e.npz',
        weight=classifier.weight,
        bias=classifier.bias,
        classes=classifier.classes.astype(object),
        encoder=np.array('abc'),
    )
    with pytest.raises(ValueError, match='cannot be read'):  # pickled objects are not loaded
        EmbeddingClassifier.load(str(tmp_path / 'e.npz'))


def test_leave_one_out_of_separate_classes_and_of_noise():
    embeddings, labels = blobs([0, 1, 2], spread=0.01)
    assert leave_one_out(embeddings, labels) == 100.0
    embeddings, labels = RNG.normal(size=(60, 5)), np.repeat([0, 1], 30)
    assert 20 < leave_one_out(embeddings, labels) < 80


def test_classifier_with_unlabeled_embeddings_equals_one_of_whitened_embeddings():
    embeddings, labels = blobs([0, 1, 2])
    unlabeled, _ = blobs([0, 1, 2])
    queries, _ = blobs([0, 1, 2])
    together = torch.from_numpy(np.concatenate([embeddings, unlabeled]))
    _, whitened = whiten(together, torch.from_numpy(np.concatenate([embeddings, queries])))
    examples, others = np.split(whitened[:, :5].numpy(), [len(embeddings)])
    reference = LogisticRegression(C=7.0, max_iter=5000).fit(examples, labels)

    classifier = fit_classifier(embeddings, labels, 7.0, unlabeled)
    np.testing.assert_allclose(
        classifier.probabilities(queries), reference.predict_proba(others), atol=1e-6
    )
    assert 90 < leave_one_out(embeddings, labels, 7.0, unlabeled) <= 100
    with pytest.raises(ValueError, match=r'unlabeled has shape \(4, 3\); it must be \(N, 5\)'):
        fit_classifier(embeddings, labels, unlabeled=np.ones((4, 3)))


@pytest.mark.parametrize(
    'embeddings, labels, message',
    [
        (np.ones((3, 2)), [0, 1], r'it must be \(3,\)'),
        (np.ones((2, 2)), [0, 0], 'two classes'),
        (np.zeros((2, 2)), [0, 1], 'row 0 is zero'),
        (np.full((2, 2), np.inf), [0, 1], 'not finite'),
        (np.ones((2, 2)), [0.5, 1], 'whole numbers or text'),
        (np.ones((1, 2, 3)), [0], r'must be \(N, C\)'),
    ],
)
def test_invalid_examples(embeddings, labels, message):
    with pytest.raises(ValueError, match=message):
        fit_classifier(embeddings, labels)


def test_nearest_equals_scipy():
    query, gallery = RNG.normal(size=(9, 4)), RNG.normal(size=(50, 4))
    distance = cdist(query, gallery, 'cosine')
    found = nearest(query, gallery, k=6)
    assert found.indices.tolist() == distance.argsort(axis=1)[:, :6].tolist()
    np.testing.assert_allclose(found.similarities, 1 - np.sort(distance, axis=1)[:, :6], atol=1e-6)
    assert nearest(query[0], gallery).indices.tolist() == found.indices[:1, :5].tolist()


@pytest.mark.parametrize(
    'query, k, message',
    [
        (np.ones(3), 1, r'it must be \(N, 4\)'),
        (np.ones(4), 0, 'k=0'),
        (np.ones(4), 51, '1 to 50'),
        (np.ones(4), 1.5, 'k=1.5'),
    ],
)
def test_invalid_searches(query, k, message):
    with pytest.raises(ValueError, match=message):
        nearest(query, RNG.normal(size=(50, 4)), k)


def test_embeddings_file_is_bound_to_its_encoder(tmp_path, folder, encoder):
    for name in ('sit/a', 'sit/b', 'run/c'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        np.save(tmp_path / f'{name}.npy', walk(8))
    embedded = encoder.embed_recordings([tmp_path])
    embedded.save(tmp_path / 'e.npz')
    again = encoder.embed_recordings([tmp_path / 'e.npz'])
    for name in ('features', 'names', 'labels', 'sources'):
        np.testing.assert_array_equal(getattr(again, name), getattr(embedded, name))
    features, classes = embedded.labeled('x')
    assert classes == ['run', 'sit'] and features.labels.tolist() == [0, 1, 1]
    EmbeddingSet(**{**vars(embedded), 'encoder': '0' * 16}).save(tmp_path / 'f.npz')
    with pytest.raises(ValueError, match='another checkpoint'):
        encoder.embed_recordings([tmp_path / 'f.npz'])


def test_scores_without_a_channel_are_left_out(encoder):
    pose = walk(9, joints=33)  # as MediaPipe's, with visibility
    scored = np.concatenate([pose, np.full((*pose.shape[:3], 1), 0.5, np.float32)], axis=-1)
    expected = encoder.embed(pose, layout='mediapipe33')
    np.testing.assert_array_equal(encoder.embed(scored, layout='mediapipe33'), expected)


def test_poses_in_two_dimensions(tmp_path):
    cfg = Config.fromfile(ROOT / 'configs/aimclr_ntu60_xsub_joint_2d.py')
    cfg.model.backbone.update(base_channels=2, out_channels=4)
    cfg.model.head.in_channels = 4
    encoder = load_encoder(cfg, 'random')
    assert encoder.layout == get_layout('coco17') != NTU25
    pose = np.concatenate(
        [walk(10, joints=17)[0][..., :2] * 100 + 500, RNG.random((10, 17, 1))], axis=-1
    )
    frames = [
        dict(instances=[dict(keypoints=p[:, :2].tolist(), keypoint_scores=p[:, 2].tolist())])
        for p in pose
    ]
    (tmp_path / 'mmpose.json').write_text(json.dumps(dict(instance_info=frames)))
    np.testing.assert_allclose(
        encoder.embed(tmp_path / 'mmpose.json'), encoder.embed(pose), rtol=1e-5
    )
    with pytest.raises(ValueError, match='channels'):
        encoder.embed(pose[..., :2])  # the network was trained with scores


def test_recordings_that_cannot_be_read_are_left_out_of_folders_and_manifests(
    tmp_path, encoder, monkeypatch
):
    said: list[str] = []
    monkeypatch.setattr(MMLogger.get_current_instance(), 'warning', said.append)
    (tmp_path / 'wave').mkdir()
    np.save(tmp_path / 'wave/a.npy', walk(9))
    (tmp_path / 'wave/b.npy').write_text('x')
    (tmp_path / 'list.csv').write_text('path\nwave/a.npy\nwave/b.npy\nwave/c.npy\n')
    names = [encoder.embed_recordings(tmp_path / s).names.tolist() for s in ('wave', 'list.csv')]
    assert names == [[str(tmp_path / 'wave/a.npy')], ['wave/a']]
    assert said[0].startswith(f'1 of 2 recordings of {tmp_path / "wave"} cannot be read')
    assert "wave/b.npy': is not a readable .npy file" in said[0]
    assert said[1].startswith('2 of 3 recordings') and 'wave/c.npy does not exist' in said[1]

    with pytest.raises(ValueError, match="b.npy': is not a readable .npy file"):
        encoder.embed(tmp_path / 'wave/b.npy')  # the user named it
    (tmp_path / 'wave/a.npy').unlink()
    with pytest.raises(ValueError, match='none of 1 recordings of .* the first: .*b.npy'):
        encoder.embed(tmp_path / 'wave')


def test_long_sequences_count_whole_and_it_is_said_once(folder, monkeypatch):
    encoder = load_encoder(folder / 'tiny.py', folder / 'tiny.pth')
    said: list[str] = []
    monkeypatch.setattr(MMLogger.get_current_instance(), 'info', said.append)
    long = walk(3000) / 10
    whole, start = encoder.embed([long, long[:, :300]])
    assert np.abs(whole - start).max() > 1e-3
    encoder.embed(long)
    (line,) = [line for line in said if 'more than 300 frames' in line]
    assert line.startswith('1 of 2 sequences have more than 300 frames (up to 3000); the whole of')
    assert '--window SECONDS of embed, search and predict' in line


def test_windows_are_not_called_long(folder, monkeypatch, tmp_path):
    encoder = load_encoder(folder / 'tiny.py', folder / 'tiny.pth')
    said: list[str] = []
    monkeypatch.setattr(MMLogger.get_current_instance(), 'info', said.append)
    np.save(tmp_path / 'long.npy', walk(400) / 10)
    encoder.embed_recordings(tmp_path / 'long.npy', windows=Windows(11, 1))
    assert not any('more than 300 frames' in line for line in said)


def test_people_of_an_array_who_change_rows_are_put_in_order(folder, monkeypatch):
    encoder = load_encoder(folder / 'tiny.py', folder / 'tiny.pth')
    said: list[str] = []
    monkeypatch.setattr(MMLogger.get_current_instance(), 'info', said.append)
    people = walk(40, people=2) / 100
    people[1, ..., 0] += 2  # meters apart
    changed = people.copy()
    changed[:, 10:30] = people[::-1, 10:30]
    expected, found = encoder.embed(people), encoder.embed(changed)
    np.testing.assert_array_equal(found, expected)
    (line,) = said
    assert line.startswith('1 of 1 recordings had people who change places: 20 frames put in order')
