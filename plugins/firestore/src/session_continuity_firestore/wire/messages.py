"""The protobuf messages of Firestore's API that the store sends and receives.

They have Google's field numbers, and only the fields that are used. They lie in a descriptor pool of their own, so that
they do not clash with Google's own classes in the same process. They are described here and not generated: generated
code demands a protobuf library that is at least as new as the generator.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_PACKAGE = "session_continuity.firestore"

_SCALARS = {"double": 1, "int64": 3, "int32": 5, "bool": 8, "string": 9, "bytes": 12}
_MESSAGE, _OPTIONAL, _REPEATED = 11, 1, 3

_DEFINITIONS = """
Timestamp: int64 seconds 1, int32 nanos 2
Value: int32 null_value 11 kind, bool boolean_value 1 kind, int64 integer_value 2 kind, double double_value 3 kind,
  Timestamp timestamp_value 10 kind, string string_value 17 kind, bytes bytes_value 18 kind,
  string reference_value 5 kind, ArrayValue array_value 9 kind, MapValue map_value 6 kind
ArrayValue: *Value values 1
MapValue: %Value fields 1
Document: string name 1, %Value fields 2, Timestamp create_time 3, Timestamp update_time 4
DocumentMask: *string field_paths 1
Precondition: bool exists 1 condition, Timestamp update_time 2 condition
FieldTransform: string field_path 1, Value increment 3 transform, ArrayValue append_missing_elements 6 transform,
  ArrayValue remove_all_from_array 7 transform
Write: Document update 1 operation, string delete 2 operation, DocumentMask update_mask 3,
  Precondition current_document 4, *FieldTransform update_transforms 7
WriteResult: Timestamp update_time 1, *Value transform_results 2
CommitRequest: string database 1, *Write writes 2
CommitResponse: *WriteResult write_results 1, Timestamp commit_time 2
GetDocumentRequest: string name 1, DocumentMask mask 2
BatchGetDocumentsRequest: string database 1, *string documents 2, DocumentMask mask 3
BatchGetDocumentsResponse: Document found 1 result, string missing 2 result, Timestamp read_time 4
Int32Value: int32 value 1
FieldReference: string field_path 2
Cursor: *Value values 1, bool before 2
Filter: CompositeFilter composite_filter 1 filter, FieldFilter field_filter 2 filter
CompositeFilter: int32 op 1, *Filter filters 2
FieldFilter: FieldReference field 1, int32 op 2, Value value 3
Order: FieldReference field 1, int32 direction 2
CollectionSelector: string collection_id 2
Projection: *FieldReference fields 2
StructuredQuery: Projection select 1, *CollectionSelector from 2, Filter where 3, *Order order_by 4, Int32Value limit 5,
  Cursor start_at 7, Cursor end_at 8
RunQueryRequest: string parent 1, StructuredQuery structured_query 2
RunQueryResponse: Document document 1, Timestamp read_time 3
"""
"""A line for each message: its fields with type, name, number and, where they are alternatives, the name of the choice.
`*` marks a repeated field, `%` a map from text."""


def _describe() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="session_continuity/firestore.proto", package=_PACKAGE, syntax="proto3"
    )
    for definition in _DEFINITIONS.replace("\n  ", " ").strip().splitlines():
        name, _, fields = definition.partition(": ")
        message = file.message_type.add(name=name)
        for field in fields.split(", "):
            _add_field(message, *field.split())
    return file


def _add_field(message: Any, kind: str, name: str, number: str, choice: str | None = None) -> None:
    label = _OPTIONAL if kind[0] not in "*%" else _REPEATED
    bare = kind.lstrip("*%")
    field = message.field.add(name=name, number=int(number), label=label, type=_SCALARS.get(bare, _MESSAGE))
    if bare not in _SCALARS:
        field.type_name = f".{_PACKAGE}.{bare}"
    if kind[0] == "%":
        entry = f"{name.title()}Entry"
        field.type_name = f".{_PACKAGE}.{message.name}.{entry}"
        nested = message.nested_type.add(name=entry)
        nested.options.map_entry = True
        _add_field(nested, "string", "key", "1")
        _add_field(nested, bare, "value", "2")
    if choice is not None:
        if not message.oneof_decl:
            message.oneof_decl.add(name=choice)
        field.oneof_index = 0


_pool = descriptor_pool.DescriptorPool()
_pool.Add(_describe())


def _message(name: str) -> Any:
    return message_factory.GetMessageClass(_pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))


Timestamp = _message("Timestamp")
Value = _message("Value")
ArrayValue = _message("ArrayValue")
Document = _message("Document")
DocumentMask = _message("DocumentMask")
Precondition = _message("Precondition")
FieldTransform = _message("FieldTransform")
Write = _message("Write")
CommitRequest = _message("CommitRequest")
CommitResponse = _message("CommitResponse")
GetDocumentRequest = _message("GetDocumentRequest")
BatchGetDocumentsRequest = _message("BatchGetDocumentsRequest")
BatchGetDocumentsResponse = _message("BatchGetDocumentsResponse")
StructuredQuery = _message("StructuredQuery")
RunQueryRequest = _message("RunQueryRequest")
RunQueryResponse = _message("RunQueryResponse")
