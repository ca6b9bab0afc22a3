"""How work is dealt out."""

from hypothesis import given
from hypothesis import strategies as st

from noise2map_core.distributed.work import MAX_ITEMS, MAX_READ_TASKS, ROUNDS, task_sizes


@given(items=st.integers(1, 10_000_000), workers=st.integers(1, 1000))
def test_tasks_hold_every_item_once_are_few_and_become_smaller(items: int, workers: int) -> None:
    sizes = task_sizes(items, workers)
    assert sum(sizes) == items and min(sizes) >= 1
    assert sizes == sorted(sizes, reverse=True)
    assert max(sizes) <= max(MAX_ITEMS, -(-items // MAX_READ_TASKS))
    assert len(sizes) <= MAX_READ_TASKS + 12 * ROUNDS * workers


@given(items=st.integers(1, 10_000), workers=st.integers(1, 64))
def test_workers_that_take_task_after_task_end_within_a_small_part_of_the_work(
    items: int, workers: int
) -> None:
    """As long as all items cost the same."""
    busy = [0] * workers
    for size in task_sizes(items, workers):
        busy[busy.index(min(busy))] += size
    assert max(busy) - min(busy) <= max(1, items // workers // 2)
