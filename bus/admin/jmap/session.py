"""The Session object (RFC 8620, 2): what a client learns first."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from bus.admin.jmap import ijson, request as limits
from bus.admin.jmap.arguments import ACCOUNT

if TYPE_CHECKING:
    from bus.admin.jmap.ijson import JsonObject
    from bus.admin.tokens import Token


def session(token: Token, base: str, node: str, *, is_read_only: bool) -> JsonObject:
    """The session of one token; `base` is where the client found us, "https://host:port"."""
    ours: JsonObject = {
        "validate": ["connect", "schema", "none"],
        "schemaUrl": f"{base}/api/schema",
        "maxValuesInRequest": limits.MAX_VALUES_IN_REQUEST,
        "maxSizeObject": limits.MAX_SIZE_OBJECT,
    }
    capabilities: JsonObject = {limits.ALIAS: {}, limits.OURS: ours}
    core: JsonObject = {
        "maxSizeUpload": 0,
        "maxConcurrentUpload": 0,
        "maxSizeRequest": limits.MAX_SIZE_REQUEST,
        "maxConcurrentRequests": limits.MAX_CONCURRENT_REQUESTS,
        "maxCallsInRequest": limits.MAX_CALLS_IN_REQUEST,
        "maxObjectsInGet": limits.MAX_OBJECTS_IN_GET,
        "maxObjectsInSet": limits.MAX_OBJECTS_IN_SET,
        "collationAlgorithms": [],
    }
    account: JsonObject = {
        "name": node,
        "isPersonal": True,
        "isReadOnly": is_read_only,
        "accountCapabilities": {limits.ALIAS: {}, limits.OURS: {}},
    }
    found: JsonObject = {
        "capabilities": {limits.CORE: core, **capabilities},
        "accounts": {ACCOUNT: account},
        "primaryAccounts": {limits.ALIAS: ACCOUNT, limits.OURS: ACCOUNT},
        "username": token.name,
        "apiUrl": f"{base}/api",
        # There are no blobs: both answer 404. A Session must have them, with these variables.
        "downloadUrl": f"{base}/jmap/download/{{accountId}}/{{blobId}}/{{name}}?accept={{type}}",
        "uploadUrl": f"{base}/jmap/upload/{{accountId}}",
        "eventSourceUrl": f"{base}/jmap/eventsource?types={{types}}&closeafter={{closeafter}}&ping={{ping}}",
    }
    return {**found, "state": hashlib.sha256(ijson.write(found)).hexdigest()[:16]}
