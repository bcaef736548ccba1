"""What is kept for a client who may have lost it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diarist.server.messages import Refusal
from diarist.server.outbox import Outbox


def sent(box):
    texts = []
    while (text := box.take()) is not None:
        texts.append(text)
    return texts


def test_in_order_once_and_again_after_a_drop():
    box = Outbox()
    for number in range(1, 6):
        box.put(str(number))
    assert not box.complete and box.unread == 5
    assert [box.take(), box.take(), box.take()] == ["1", "2", "3"]
    box.rewind(1)
    assert sent(box) == ["2", "3", "4", "5"] and box.complete and box.unread == 0
    box.rewind(5)
    assert sent(box) == []


def test_what_was_acknowledged_is_gone():
    box = Outbox()
    for number in range(1, 4):
        box.put(str(number))
    sent(box)
    box.ack(2)
    box.ack(1)
    with pytest.raises(Refusal, match="updates from 2 on are not kept") as error:
        box.rewind(1)
    assert error.value.code == "updates_gone"
    box.rewind(2)
    assert sent(box) == ["3"]


def test_an_ack_of_what_was_not_sent_loses_nothing():
    box = Outbox()
    box.put("1")
    sent(box)
    box.put("2")
    box.ack(99)
    assert sent(box) == ["2"]


def test_nobody_has_what_was_not_sent():
    box = Outbox()
    box.put("1")
    with pytest.raises(Refusal, match="'updates' is 1, but 0 were sent"):
        box.rewind(1)


def test_only_so_much_is_kept():
    box = Outbox(most_kept=10)
    for _ in range(5):
        box.put("four")
    sent(box)
    with pytest.raises(Refusal, match="not kept"):
        box.rewind(2)
    box.rewind(3)
    assert sent(box) == ["four", "four"]


@given(st.lists(st.sampled_from(["put", "take", "drop", "ack"]), max_size=60))
def test_whatever_happens_the_client_gets_each_once(actions):
    box, put, had, acked = Outbox(), 0, [], 0
    for action in actions:
        if action == "put":
            put += 1
            box.put(str(put))
        elif action == "take":
            text = box.take()
            had += [] if text is None else [int(text)]
        elif action == "ack":
            acked = len(had)
            box.ack(acked)
        else:  # the newest updates were lost on the way
            had = had[: max(acked, len(had) - 2)]
            acked = len(had)  # who says what he has got never wants it again
            box.rewind(acked)
    had += [int(text) for text in sent(box)]
    assert had == list(range(1, put + 1))
    assert box.unread == 0
