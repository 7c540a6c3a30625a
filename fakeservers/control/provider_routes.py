"""The calls that are about one provider: devices, keys, topics and channels of APNs; fates, subscriptions and OAuth of FCM."""

from __future__ import annotations

from fakeservers.apns.channels import POLICIES
from fakeservers.apns.fates import CODES
from fakeservers.control.route import (
    BUNDLE_ID,
    CHANNEL_ID,
    DEVICE_TOKEN,
    FCM_TOPIC,
    NAME_OF_KEY,
    OAUTH_ERRORS,
    PAGED,
    REGISTRATION,
    TARGET,
    Route,
    list_of,
    object_of,
    or_null,
    seconds,
    text,
)
from fakeservers.fcm.fates import FATES

APNS_ROUTES = (
    Route(
        name="devices",
        method="GET",
        path="/v1/apns/devices",
        tag="apns",
        query=PAGED,
        summary="Registered devices and their state.",
    ),
    Route(
        name="add_devices",
        method="POST",
        path="/v1/apns/devices",
        tag="apns",
        body=object_of(
            {
                "devices": list_of(
                    object_of(
                        {"token": DEVICE_TOKEN},
                        {
                            "topic": or_null(BUNDLE_ID),
                            "fate": {"type": "string", "enum": ["", *sorted(CODES.values())]},
                            "since": or_null(
                                {
                                    "type": "integer",
                                    "minimum": 0,
                                    "maximum": 10**15,
                                    "description": "Milliseconds, with 410.",
                                }
                            ),
                        },
                    )
                )
            }
        ),
        summary="Register devices, or change their state. `fate` is what happens to pushes.",
    ),
    Route(
        name="remove_device",
        method="DELETE",
        path="/v1/apns/devices/{token}",
        tag="apns",
        status=204,
        parameters={"token": DEVICE_TOKEN},
        summary="Make a device unknown.",
    ),
    Route(name="keys", method="GET", path="/v1/apns/keys", tag="apns", summary="Signing keys."),
    Route(
        name="add_key",
        method="PUT",
        path="/v1/apns/keys/{key_id}",
        tag="apns",
        parameters={"key_id": NAME_OF_KEY},
        body=object_of(
            {"team_id": NAME_OF_KEY, "pem": text(4096, "", "Of the public or the private half.")},
            {
                "topics": or_null(list_of(BUNDLE_ID)),
                "environment": or_null({"type": "string", "enum": ["sandbox", "production"]}),
                "related": or_null(NAME_OF_KEY),
            },
        ),
        summary="Register a signing key, or replace it.",
    ),
    Route(
        name="remove_key",
        method="DELETE",
        path="/v1/apns/keys/{key_id}",
        tag="apns",
        status=204,
        parameters={"key_id": NAME_OF_KEY},
        summary="Revoke a signing key.",
    ),
    Route(
        name="topics", method="GET", path="/v1/apns/topics", tag="apns", summary="The topics of each team."
    ),
    Route(
        name="add_topics",
        method="POST",
        path="/v1/apns/topics",
        tag="apns",
        body=object_of({"team_id": NAME_OF_KEY, "topics": list_of(BUNDLE_ID, 1000)}),
        summary="Let a team push to these topics, on connections to come.",
    ),
    Route(
        name="remove_topic",
        method="DELETE",
        path="/v1/apns/topics/{team_id}/{topic}",
        tag="apns",
        status=204,
        parameters={"team_id": NAME_OF_KEY, "topic": BUNDLE_ID},
        summary="Take a topic from a team.",
    ),
    Route(
        name="channels",
        method="GET",
        path="/v1/apns/channels/{bundle_id}",
        tag="apns",
        parameters={"bundle_id": BUNDLE_ID},
        query=PAGED,
        summary="The broadcast channels of an app.",
    ),
    Route(
        name="add_channels",
        method="POST",
        path="/v1/apns/channels/{bundle_id}",
        tag="apns",
        parameters={"bundle_id": BUNDLE_ID},
        body=object_of(
            {
                "channels": list_of(
                    object_of(
                        {"channel_id": CHANNEL_ID},
                        {
                            "policy": {
                                "type": "integer",
                                "enum": list(POLICIES),
                                "description": "1 stores the newest message, 0 none.",
                            }
                        },
                    )
                )
            }
        ),
        summary="Register channels under ids of your own.",
    ),
    Route(
        name="clear_channels",
        method="DELETE",
        path="/v1/apns/channels/{bundle_id}",
        tag="apns",
        parameters={"bundle_id": BUNDLE_ID},
        query={"channel_id": CHANNEL_ID},
        summary="Delete the channels of an app, or the one that is named.",
    ),
    Route(
        name="switch_channels",
        method="PATCH",
        path="/v1/apns/channels/{bundle_id}",
        tag="apns",
        parameters={"bundle_id": BUNDLE_ID},
        body=object_of({"enabled": {"type": "boolean"}}),
        summary="Let an app broadcast, or not: then it loses its channels.",
    ),
)

FCM_ROUTES = (
    Route(
        name="fates",
        method="GET",
        path="/v1/fcm/fates",
        tag="fcm",
        query=PAGED,
        summary="Targets that do not carry their own fate, and the fates of the next sends.",
    ),
    Route(
        name="add_fates",
        method="POST",
        path="/v1/fcm/fates",
        tag="fcm",
        body=object_of(
            {},
            {
                "fates": {
                    **list_of(
                        object_of({"target": TARGET, "fate": {"type": "string", "enum": sorted(FATES)}})
                    ),
                    "minItems": 0,
                    "default": [],
                },
                "next": {**list_of({"type": "string", "enum": sorted(FATES)}), "minItems": 0, "default": []},
            },
        ),
        summary="Say what happens to sends to these targets, and to the next sends whatever their target.",
    ),
    Route(
        name="remove_fate",
        method="DELETE",
        path="/v1/fcm/fates/{target}",
        tag="fcm",
        status=204,
        parameters={"target": TARGET},
        summary="Make a target an ordinary one.",
    ),
    Route(
        name="subscriptions",
        method="GET",
        path="/v1/fcm/subscriptions/{registration}",
        tag="fcm",
        parameters={"registration": REGISTRATION},
        summary="The topics of a registration.",
    ),
    Route(
        name="subscribe",
        method="POST",
        path="/v1/fcm/subscriptions/{registration}",
        tag="fcm",
        parameters={"registration": REGISTRATION},
        body=object_of({"topics": list_of(FCM_TOPIC, 1000)}),
        summary="Subscribe a registration to topics.",
    ),
    Route(
        name="unsubscribe",
        method="DELETE",
        path="/v1/fcm/subscriptions/{registration}/{topic}",
        tag="fcm",
        status=204,
        parameters={"registration": REGISTRATION, "topic": FCM_TOPIC},
        summary="Unsubscribe it from one.",
    ),
    Route(
        name="oauth",
        method="PATCH",
        path="/v1/fcm/oauth",
        tag="fcm",
        body=object_of(
            {},
            {
                "lifetime": {
                    "type": "integer",
                    "minimum": 0,
                    "maximum": 31_536_000,
                    "description": "`expires_in` of tokens to come.",
                },
                "delay": seconds(1e6, "By which answers are late."),
                "down": {"type": "boolean", "description": "503 to everything."},
                "error": {"type": "string", "enum": ["", *OAUTH_ERRORS]},
                "tokens": {
                    "type": "string",
                    "enum": ["expire", "forget"],
                    "description": "What becomes of those issued so far.",
                },
            },
        ),
        summary="Change what the token endpoint does; an empty object changes nothing.",
    ),
)
