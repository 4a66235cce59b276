"""Confusions and subsets against loops over the sequences."""

from collections import Counter

import numpy as np
import pytest

from aimclr_mm.visualization.report.confusion import (
    confused_pairs,
    confusion_matrix,
    per_class,
    stratified_subset,
)

from .runs import make_scores


def test_classes_equal_a_loop():
    scores = make_scores(classes=40, count=300)
    scores.labels = scores.labels.astype(np.uint8)
    predicted = scores.scores.argmax(axis=1).tolist()
    matrix = confusion_matrix(scores)
    counts = Counter(zip(scores.labels.tolist(), predicted))
    assert matrix.tolist() == [[counts[row, column] for column in range(40)] for row in range(40)]

    for result in per_class(matrix):
        answers = [p for p, label in zip(predicted, scores.labels) if label == result.label]
        correct = answers.count(result.label)
        assert (result.count, result.correct) == (len(answers), correct)
        assert result.accuracy == (100 * correct / len(answers) if answers else None)

        wrong = Counter(answer for answer in answers if answer != result.label)
        if wrong:
            other, count = result.confused
            assert wrong[other] == count == max(wrong.values())
        else:
            assert result.confused is None


def test_most_confused_pairs_come_first():
    scores = make_scores()
    answers = zip(scores.labels.tolist(), scores.scores.argmax(axis=1).tolist())
    wrong = Counter((label, answer) for label, answer in answers if label != answer)
    pairs = confused_pairs(confusion_matrix(scores), limit=5)

    assert [count for *_, count, _ in pairs] == sorted(wrong.values(), reverse=True)[:5]
    for label, predicted, count, share in pairs:
        assert wrong[label, predicted] == count
        assert share == pytest.approx(100 * count / (scores.labels == label).sum())
    assert confused_pairs(np.diag([3, 4])) == []


def test_equal_counts_are_ordered_by_share():
    matrix = np.array([[8, 2, 0], [0, 5, 0], [2, 0, 1]])
    assert [pair[:2] for pair in confused_pairs(matrix)] == [(2, 0), (0, 1)]


def test_subset_keeps_the_shares_of_classes():
    labels = np.repeat([0, 5, 7], [600, 300, 100])
    chosen = stratified_subset(labels, 50)
    assert len(set(chosen.tolist())) == 50 and (np.diff(chosen) > 0).all()
    assert Counter(labels[chosen].tolist()) == {0: 30, 5: 15, 7: 5}
    assert chosen.tolist() == stratified_subset(labels, 50).tolist()
    assert stratified_subset(labels, 1000).tolist() == list(range(1000))
