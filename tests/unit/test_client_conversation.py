"""A conversation grows by questions that were answered."""

from llm_streaming.client.conversation import Conversation

HELLO = {"role": "user", "content": "Hello!"}
HI = {"role": "assistant", "content": "Hi."}
AND = {"role": "user", "content": "And?"}


def test_each_request_carries_what_was_asked_and_answered() -> None:
    conversation = Conversation()
    assert conversation.ask("Hello!") == [HELLO]
    conversation.answered("Hi.")
    assert conversation.ask("And?") == [HELLO, HI, AND]
    assert conversation.messages == [HELLO, HI]


def test_the_instructions_come_first() -> None:
    instructions = {"role": "system", "content": "Be brief."}
    assert Conversation("Be brief.").ask("Hello!") == [instructions, HELLO]


def test_a_question_without_an_answer_is_dropped() -> None:
    conversation = Conversation()
    conversation.ask("What?")
    conversation.answered("")
    conversation.ask("Who?")
    assert conversation.ask("Hello!") == [HELLO]
    conversation.answered("Hi.")
    assert conversation.messages == [HELLO, HI]
