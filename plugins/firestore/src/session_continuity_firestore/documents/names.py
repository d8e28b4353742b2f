"""Names of documents and their fields. Pure.

The fields that the TypeScript kit knows have the kit's names.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

MESSAGES: Final = "messages"
"""The collection of a session's messages."""

NAMESPACES: Final = "namespaces"

ID: Final = "id"
SESSION_ID: Final = "sessionId"
USER_ID: Final = "userId"
AGENT_ID: Final = "activeAgentId"
STATUS: Final = "status"
METADATA: Final = "metadata"
TAGS: Final = "metadata.tags"
PARTICIPANTS: Final = "participants"
HANDOFFS: Final = "handoffs"
TOKEN_BUDGET: Final = "tokenBudget"
COMPRESSION: Final = "compression"
COMPRESSION_STATE: Final = "compressionState"
SLIDING_TTL: Final = "slidingTtl"
CREATION_TOKEN: Final = "creationToken"
FORKED_FROM: Final = "forkedFrom"
SCHEMA_VERSION: Final = "schemaVersion"
VERSION: Final = "version"
TOKEN_COUNT: Final = "tokenCount"
MESSAGE_COUNT: Final = "messageCount"
CREATED_AT: Final = "createdAt"
UPDATED_AT: Final = "updatedAt"
LAST_ACTIVITY_AT: Final = "lastActivityAt"
EXPIRES_AT: Final = "expiresAt"
ROLE: Final = "role"
CONTENT: Final = "content"

EXACT: Final = "Exact"
"""The end of the name of a field that holds, as JSON text, what the field without it cannot hold exactly."""

PLACE: Final = "place"
"""In META: the place of the newest message that there ever was."""

LAST_ID: Final = "lastMessageId"
"""In META: the id of the last message, empty for none. Absent where it is not known."""

COUNTED: Final = "countedMessages"
"""In META: `messageCount` as this store wrote it. Another one was written by another program, with other places."""

SYSTEM_MESSAGES: Final = "systemMessageIds"
"""In META: texts of a place and an id, one for each system message."""

WRITE_ID: Final = "writeId"
"""The id of the last write, by which a write whose reply was lost is recognised."""

FORK_OF: Final = "forkOf"
"""In META: the id of the session that it was forked from, and what distinguishes that from others of the same id."""

DELETING_AT: Final = "deletingAt"
"""In META: the session is being deleted, or is a fork that is not complete."""

DELETES: Final = "deletes"
"""In META, beside `deletingAt`: how many calls have marked the session as being deleted. The first one deletes it."""

FORKING: Final = "forking"
"""In META, beside `deletingAt`: the id of the call that makes this fork."""

_RESERVED = re.compile(r"__.*__", re.DOTALL)


def escape(text: str) -> str:
    """An id as the last part of a document's name: no slash, not a dot, not `__…__`. Sorts as the ids do."""
    name = text.replace(".", ".-").replace("/", ".0")
    return f"{name}.1" if _RESERVED.fullmatch(name) else name


def unescape(name: str) -> str:
    """The id that `escape` made a name of. Names of other programs' documents are their ids."""
    return name.removesuffix(".1").replace(".0", "/").replace(".-", ".")


def last_part(name: str) -> str:
    """The last part of a document's name."""
    return name.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Names:
    """The names of documents in one database and namespace. `database` is its resource name."""

    database: str
    collection: str
    namespace: str = ""

    def with_namespace(self, namespace: str) -> Names:
        """The names in another namespace."""
        return replace(self, namespace=namespace)

    @property
    def parent(self) -> str:
        """The document whose collection holds the sessions, or the root of all documents."""
        root = f"{self.database}/documents"
        return f"{root}/{NAMESPACES}/{escape(self.namespace)}" if self.namespace else root

    def session(self, session_id: str) -> str:
        """META of a session."""
        return self.session_named(escape(session_id))

    def session_named(self, part: str) -> str:
        """META by the last part of its name."""
        return f"{self.parent}/{self.collection}/{part}"

    def message(self, session_id: str, message_id: str) -> str:
        """A message."""
        return self.message_named(session_id, escape(message_id))

    def message_named(self, session_id: str, part: str) -> str:
        """A message by the last part of its name."""
        return f"{self.session(session_id)}/{MESSAGES}/{part}"
