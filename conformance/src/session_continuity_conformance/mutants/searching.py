"""Mutants that search wrongly."""

from __future__ import annotations

from typing import Any

from session_continuity import Message, Page, Patch, SearchTerms, searched_words
from session_continuity_conformance.mutants.registry import breaks
from session_continuity_conformance.reference.model import Model, SessionRecord
from session_continuity_conformance.reference.storage import ReferenceStorage


@breaks("SC-SRC-001")
class FindsAnyOfTheWords(Model):
    """A search finds messages that have one of its words."""

    def meets(self, terms: SearchTerms, message: Message) -> bool:
        words = searched_words(message.role, message.content)
        return any(SearchTerms((phrase,)).are_in(words) for phrase in terms.phrases)


@breaks("SC-SRC-001")
class FindsWordsInAnyOrder(Model):
    """Words that must follow each other may be anywhere."""

    def meets(self, terms: SearchTerms, message: Message) -> bool:
        alone = SearchTerms(tuple((word,) for phrase in terms.phrases for word in phrase))
        return alone.are_in(searched_words(message.role, message.content))


@breaks("SC-SRC-001")
class SearchDropsOperators(Model):
    """The words AND, OR and NOT of a search are operators."""

    def meets(self, terms: SearchTerms, message: Message) -> bool:
        phrases = tuple(phrase for phrase in terms.phrases if phrase[0] not in ("and", "or", "not"))
        return super().meets(SearchTerms(phrases or terms.phrases), message)


@breaks("SC-SRC-001")
class LastWordMustBeWhole(Model):
    """The last word of a search must be whole."""

    def meets(self, terms: SearchTerms, message: Message) -> bool:
        whole = [*terms.phrases, ("end",)]
        return SearchTerms(tuple(whole)).are_in([*searched_words(message.role, message.content), "end"])


@breaks("SC-SRC-002")
class SearchesEveryRole(Model):
    """A search finds system messages and results of tools."""

    def meets(self, terms: SearchTerms, message: Message) -> bool:
        return super().meets(terms, message.model_copy(update={"role": "user"}))


@breaks("SC-SRC-002")
class SearchesTextsOnly(Model):
    """A search finds nothing in blocks."""

    def meets(self, terms: SearchTerms, message: Message) -> bool:
        return isinstance(message.content, str) and super().meets(terms, message)


@breaks("SC-SRC-003")
class SearchIgnoresTheUser(ReferenceStorage):
    """A search of a user's sessions finds those of others."""

    async def search_messages(self, text: str, *, user_id: str | None = None, **options: Any) -> Page[Message]:
        wanted = None if options.get("session_id") is None else user_id
        return await super().search_messages(text, user_id=wanted, **options)


@breaks("SC-SRC-003")
class SearchOfAMissingSessionFindsNothing(Model):
    """A search of a session that does not exist finds nothing."""

    def search_messages(self, text: str, *, session_id: str | None = None, **options: Any) -> Page[Message]:
        if session_id is not None and self.find_live(session_id) is None:
            return Page(())
        return super().search_messages(text, session_id=session_id, **options)


@breaks("SC-SRC-004")
class SearchLosesAMatchBetweenPages(Model):
    """A page of a search begins two places after the one before."""

    def search_messages(self, text: str, *, cursor: str | None = None, **options: Any) -> Page[Message]:
        page = super().search_messages(text, cursor=cursor, **options)
        return page if cursor is None else Page(page.items[1:], page.next_cursor)


@breaks("SC-SRC-004")
class SearchIsInConversationOrder(Model):
    """A search finds the first message of a session first."""

    def match_key(self, record: SessionRecord, message: Message) -> Any:
        *session, place = super().match_key(record, message)
        return (*session, -place)


@breaks("SC-SRC-005")
class SearchKeepsTheOldText(Model):
    """A message that was edited is found by its old text."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.old: dict[str, Message] = {}

    def update_message(self, session_id: str, message_id: str, patch: Patch) -> Message:
        found = self.require(session_id).find(message_id)
        if found is not None and "content" in patch.set:
            self.old[message_id] = found
        return super().update_message(session_id, message_id, patch)

    def meets(self, terms: SearchTerms, message: Message) -> bool:
        return super().meets(terms, self.old.get(message.id, message))


@breaks("SC-SRC-005")
class SearchFindsNoCopies(Model):
    """The messages of a fork are found in its source only."""

    def meets(self, terms: SearchTerms, message: Message) -> bool:
        return self.require(message.session_id).source is None and super().meets(terms, message)
