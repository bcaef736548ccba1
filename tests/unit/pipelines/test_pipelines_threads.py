"""The limit on linear algebra holds in every thread, and is gone after the last."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np  # loads the library that is limited
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from diarist.pipelines.threads import single_threaded_algebra

pytestmark = pytest.mark.skipif(
    max((lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"), default=1) < 2,
    reason="linear algebra runs on one thread here anyway",
)


def now():
    assert np.eye(2) is not None
    return [lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"]


def limited():
    with single_threaded_algebra():
        return now()


@pytest.fixture(autouse=True)
def unlimited():
    before = now()
    yield
    assert now() == before


def test_it_holds_in_the_main_thread_and_in_others():
    assert set(limited()) == {1}
    with ThreadPoolExecutor(1) as pool:
        assert set(pool.submit(limited).result()) == {1}
    assert set(limited()) == {1}


def test_it_holds_until_the_last_is_done_whichever_thread_that_is():
    before, first_in, may_leave = now(), threading.Event(), threading.Event()

    def hold():
        with single_threaded_algebra():
            first_in.set()
            may_leave.wait(10)

    holder = threading.Thread(target=hold)
    holder.start()
    first_in.wait(10)
    with single_threaded_algebra():
        may_leave.set()
        holder.join()  # the thread that set the limit has gone
        assert set(now()) == {1}
    assert now() == before


def test_others_can_still_set_limits_afterwards():
    with ThreadPoolExecutor(1) as pool:
        pool.submit(limited).result()
    with threadpool_limits(limits=1, user_api="blas"):
        assert set(now()) == {1}


def test_an_error_inside_takes_the_limit_off():
    before = now()
    with pytest.raises(KeyError), single_threaded_algebra():
        raise KeyError
    assert now() == before
