"""Concurrent callers share runs of the network, and each gets its own keypoints."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from posewright.predict.predictor import Predictor
from posewright.serve.shared_runs import SharedPredictor


class Held:
    """A network that runs when it is let, and remembers how many crops each run had."""

    def __init__(self, net):
        self.net, self.let, self.started, self.sizes = net, threading.Event(), threading.Event(), []

    def __call__(self, images):
        self.started.set()
        assert self.let.wait(20)
        self.sizes.append(len(images))
        return self.net(images)


@pytest.fixture
def held(predictor):
    return Held(predictor.net)


def begin(pool, shared, pixels, count, waiting):
    """Ask from `count` threads, and wait until `waiting` of them stand in the queue."""
    jobs = [pool.submit(shared, pixels, [[10, 8, 24, 32 + n]]) for n in range(count)]
    while len(shared._waiting) < waiting:
        pass
    return jobs


def test_what_waits_runs_together_and_gives_what_one_alone_gives(predictor, pixels, held):
    shared = SharedPredictor(Predictor(predictor.spec, held, flip=False, batch=4))
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(shared, pixels, [[60, 40, 24, 32]])
        assert held.started.wait(20)
        jobs = begin(pool, shared, pixels, 6, waiting=6)
        held.let.set()
        for n, job in enumerate(jobs):
            np.testing.assert_array_equal(job.result(20).xy, predictor(pixels, [[10, 8, 24, 32 + n]]).xy)
        np.testing.assert_array_equal(first.result(20).xy, predictor(pixels, [[60, 40, 24, 32]]).xy)
    assert held.sizes == [1, 4, 2]  # never more than a batch
    assert (shared.runs, shared.crops) == (3, 7)
    shared.close()


def test_two_passes_and_the_flip_share_runs_too(predictor, pixels):
    flipped = Predictor(predictor.spec, predictor.net)
    shared = SharedPredictor(flipped)
    np.testing.assert_array_equal(shared(pixels).xy, flipped(pixels).xy)
    assert shared.runs == 2
    assert len(shared(pixels, np.empty((0, 4)))) == 0
    shared.close()


def test_a_failure_reaches_each_caller_and_the_next_is_served(predictor, pixels):
    broken = [True]

    def net(images):
        if broken.pop() if broken else False:
            raise RuntimeError("out of memory")
        return predictor.net(images)

    shared = SharedPredictor(Predictor(predictor.spec, net, flip=False))
    with pytest.raises(RuntimeError, match="out of memory"):
        shared(pixels, [[10, 8, 24, 32]])
    assert len(shared(pixels, [[10, 8, 24, 32]])) == 1
    shared.close()


def test_closing_runs_what_waits_and_refuses_what_follows(predictor, pixels, held):
    shared = SharedPredictor(Predictor(predictor.spec, held, flip=False, batch=2))
    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(shared, pixels, [[10, 8, 24, 32]])]
        assert held.started.wait(20)
        jobs += begin(pool, shared, pixels, 3, waiting=3)
        closing = pool.submit(shared.close)
        held.let.set()
        assert [len(job.result(20)) for job in jobs] == [1] * 4
        closing.result(20)
    with pytest.raises(RuntimeError, match="closed"):
        shared(pixels, [[10, 8, 24, 32]])
