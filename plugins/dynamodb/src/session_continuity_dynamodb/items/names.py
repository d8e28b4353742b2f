"""The names of all attributes in the table. No other module writes one as a literal.

Names that the TypeScript kit also writes are the kit's. The others are this store's, and the kit ignores them.
"""

from __future__ import annotations

PARTITION_KEY = "PK"
SORT_KEY = "SK"

ID = "id"
STATUS = "status"
CREATED_AT = "createdAt"
EXPIRES_AT = "expiresAt"
LAST_ACTIVITY_AT = "lastActivityAt"
MESSAGE_COUNT = "messageCount"
TOKEN_COUNT = "tokenCount"
METADATA = "metadata"

WRITE_ID = "wid"
"""The id of the last write of META or of the counters. A write that finds its own id there is a repetition."""

DELETING = "deleting"
"""On META and the counters of a session that is being deleted: the id of the write that began it. It is also the
status that the counters have then."""

REPLACING = "replacing"
"""On both heads while a long tail is being replaced: the id of the write that began it, and the places between which
the old messages lie."""

TAIL_REVISION = "tailRev"
"""On META and the counters: the id of the last write that replaced a tail, and the places between which it removed
messages."""

HEADS_REVISION = "headsRev"
"""On META and the counters: the id of the last write that changed both. A reader that finds two different ones has read
the heads of two moments."""

DELETING_SINCE = "deletingSince"

# META
USER_ID = "userId"
ACTIVE_AGENT_ID = "activeAgentId"
PARTICIPANTS = "participants"
HANDOFFS = "handoffs"
TOKEN_BUDGET = "tokenBudget"
COMPRESSION = "compression"
COMPRESSION_STATE = "compressionState"
SLIDING_TTL = "slidingTtl"
CREATION_TOKEN = "creationToken"
FORKED_FROM = "forkedFrom"
VERSION = "version"
SCHEMA_VERSION = "schemaVersion"

TTL = "ttl"
"""The time at which DynamoDB itself may delete the item, in whole seconds."""

ADOPTED = "adopted"
"""The session has a counters item. A session that only the TypeScript kit has written lacks both."""

# The counters of a session
LAST_KEY = "lastKey"
TOKENS_LEFT = "tokensLeft"
TOKEN_LIMIT = "tokenLimit"
BASE_MESSAGES = "baseMessages"
BASE_TOKENS = "baseTokens"
FOREIGN = "foreign"
SLIDES = "slides"

SYSTEM_PLACES = "systemIds"
"""The places of the first system messages."""

SYSTEM_ROWS = "systemRows"
"""Further system messages are listed in rows. The value is the id of the write that added the first row, so that a
session made anew under the same id has another one."""

EDIT_REVISION = "editRev"
"""On the counters: the last write that edited or removed single messages. A change that is computed from all messages
must not meet one since it read them. An append does not matter to it."""

SYSTEM_REVISION = "systemRev"
"""The id of the last write that changed the list of system messages, other than an append."""

FORK_OF = "forkOf"
"""On the counters of a fork: its `createdAt` and the id of its source, from which the key of its link follows."""

# Links of forks
FORK_ID = "forkId"
FORK_MESSAGE = "forkMessage"
"""The last message that was copied, if the fork named one."""

# Messages
SESSION_ID = "sessionId"
ROLE = "role"
UPDATED_AT = "updatedAt"
CONTENT = "content"

EMPTY_TEXT = "emptyText"
"""The content is an empty text. DynamoDB once refused those, so an empty list stands for it."""

BLOCKS = "blocks"
"""A content that no native list can hold exactly, as JSON text."""

BODY = "body"
"""Content and metadata as JSON, packed by the codec that `CODEC` names."""

CODEC = "codec"

OWN_ID = "ownId"
"""The caller chose the message's id, so a pointer leads to it."""

REVISION = "rev"
"""The id of the last edit. Two edits may otherwise leave the same values."""

PARTS = "parts"
"""The set of parts that holds the body, and their number."""

# Pointers and parts
REF = "ref"
"""The place of the message that a pointer leads to."""

LACKS = "lacks"
"""The fields of the message that did not fit into the pointer."""

DATA = "data"
