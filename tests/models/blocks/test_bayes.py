import numpy as np

from tamis.models.blocks.bayes import maximise


def test_it_comes_close_to_the_top_with_few_questions() -> None:
    top = np.array([3.0, -0.5])
    asked = []

    def hill(point: np.ndarray) -> float:
        asked.append(point)
        return float(-(((point - top) / [10.0, 2.0]) ** 2).sum())

    best, value = maximise(hill, [(0.0, 10.0), (-1.0, 1.0)], rounds=25)
    assert len(asked) == 25
    assert value == max(map(hill, asked[:25])) > -0.005
    assert (np.abs(best - top) / [10.0, 2.0] < 0.08).all()


def test_it_does_better_than_chance() -> None:
    rng = np.random.default_rng(0)

    def hill(point: np.ndarray) -> float:
        return float(-((point - 0.37) ** 2).sum())

    wins = 0
    for seed in range(5):
        _, found = maximise(hill, [(0.0, 1.0)] * 3, rounds=20, seed=seed)
        wins += found > max(hill(point) for point in rng.random((20, 3)))
    assert wins >= 4


def test_a_function_that_is_flat_is_no_error() -> None:
    assert maximise(lambda _: 1.0, [(0.0, 1.0)], rounds=8)[1] == 1.0
