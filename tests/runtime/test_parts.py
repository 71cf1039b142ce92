"""Parts: large batches are computed in small parts, small ones as a whole, with the same results in the same order."""

import threading

import numpy as np
import pytest

from posewright.runtime.parts import Parts


def network(calls):
    def run(array):
        calls.append(len(array))
        return [array * 2, array.sum(1)]

    return run


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 6, 8, 17, 32])
def test_results_are_those_of_the_whole_batch(threads, count):
    together, single = [], []
    parts = Parts(network(together), lambda: network(single), threads)
    array = np.random.default_rng(0).normal(size=(count, 3))
    doubled, total = parts(array)
    np.testing.assert_array_equal(doubled, array * 2)
    np.testing.assert_array_equal(total, array.sum(1))
    if count <= 1 or (threads, count) in {(1, 3), (1, 4), (3, 4)}:
        assert (together, single) == ([count], [])
    else:
        assert max(together + single) <= 4
        assert len(together + single) % threads == 0
        assert sum(together + single) == count


def test_what_computes_parts_is_made_once_and_only_for_large_batches():
    made = []
    parts = Parts(network([]), lambda: made.append(1) or network([]), 2)
    parts(np.zeros((1, 2)))
    assert not made
    callers = [threading.Thread(target=parts, args=(np.zeros((9, 2)),)) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert made == [1]


def test_an_error_in_a_part_is_raised():
    def fails(array):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        Parts(network([]), lambda: fails, 2)(np.zeros((8, 2)))
