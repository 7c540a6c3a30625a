"""Payload files and their formats: Expo's, each provider's own, or both providers' in one file."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from ..audience.problems import BadInput, printable, shown
from ..models.apns import ApnsPushType, PushType
from ..models.expo import AndroidForm, ExpoMessage
from ..models.expo_message import unknown_keys
from ..models.fcm import Message
from .devices import APNS, FCM, NAMES
from .foreign import foreign_format, service_format
from .json_template import read_object
from .legacy import from_listing, is_legacy, is_listing, refuse_legacy
from .payload import ApnsPayload, ExpoPayload, FcmPayload, Payload

AUTO, EXPO = "auto", "expo"
FORMATS: Final = (AUTO, EXPO, APNS, FCM)
CREDENTIALS: Final = {APNS: "--apns-key or --apns-cert", FCM: "--fcm-service-account"}

_DESCRIPTIONS: Final = {APNS: "a payload of APNs", FCM: "a message of FCM"}
_EXPO_TYPES: Final = (None, "alert", "background")
_EXPO_TEXTS: Final = ("title", "subtitle", "body")


@dataclass(frozen=True, slots=True, kw_only=True)
class PayloadFiles:
    """The options that name payload files. `common`: --payload; `apns`, `fcm`: for that provider alone.

    `form`: one of `FORMATS`. `push_type`: the value of --push-type, if set. `android`: the form for Android of a message in
    Expo's format. `format_option`: the name of the option for the format in errors.
    """

    common: str | None = None
    apns: str | None = None
    fcm: str | None = None
    form: str = AUTO
    push_type: ApnsPushType | PushType | None = None
    android: AndroidForm = "notification"
    experience_id: str | None = None
    scope_key: str | None = None
    format_option: str = "--payload-format"

    def load(self, platforms: Collection[str]) -> dict[str, Payload]:
        """The payload for each of `platforms`.

        Raises:
            BadInput: A file is invalid, or has no payload for a provider that needs one.
        """
        own_paths = {APNS: self.apns, FCM: self.fcm}
        for platform, path in own_paths.items():
            if path is not None and platform not in platforms:
                raise BadInput(f"--{platform}-payload needs {CREDENTIALS[platform]}")
        sharing = [platform for platform in platforms if own_paths[platform] is None]
        if not sharing and self.common is not None:
            raise BadInput(
                "--payload has no effect beside a payload for each provider; expected one or the other"
            )
        payloads: dict[str, Payload] = {}
        if sharing:
            if self.common is None:
                options = " or ".join(["--payload", *(f"--{platform}-payload" for platform in sharing)])
                raise BadInput(f"{options} is missing: a payload for {NAMES[sharing[0]]}")
            content = read_object(self.common)  # read only once: it may be a pipe
            name = printable(self.common)
            payloads = {platform: self._shared(content, name, platform, sharing) for platform in sharing}
        for platform in platforms:
            path = own_paths[platform]
            if path is not None:
                payloads[platform] = self._make(read_object(path), printable(path), platform, [platform])
        return payloads

    def of_object(self, content: dict[str, Any], name: str) -> dict[str, Payload]:
        """The payloads in a JSON object, by provider. Raises `BadInput` if there is none."""
        if self.form not in FORMATS:
            raise BadInput(
                f"{self.format_option} must be one of {', '.join(FORMATS)}, not {shown(self.form)}"
            )
        both = [APNS, FCM]
        if self.form == AUTO and _holds_both(content):
            platforms = [platform for platform in both if platform in content]
        else:
            form = self.form if self.form != AUTO else self._guess(content, name, both)
            platforms = both if form == EXPO else [form]
        return {platform: self._shared(content, name, platform, platforms) for platform in platforms}

    def _shared(self, content: dict[str, Any], name: str, platform: str, sharing: Collection[str]) -> Payload:
        if self.form != AUTO or not _holds_both(content):
            return self._make(content, name, platform, sharing)
        part = content.get(platform)
        if not isinstance(part, dict):
            problem = "is not a JSON object" if platform in content else "is missing"
            raise BadInput(f'{name}: "{platform}" {problem}; expected the payload for {NAMES[platform]}')
        return self._make(part, f'{name}, "{platform}"', platform, [platform], named=True)

    def _make(
        self,
        content: dict[str, Any],
        name: str,
        platform: str,
        sharing: Collection[str],
        *,
        named: bool = False,  # whether the provider's name is its key: then it is in its format where it may be
    ) -> Payload:
        form = self.form
        if form == AUTO:
            form = (
                platform
                if named and self._is_data(content, platform)
                else self._guess(content, name, sharing)
            )
        if form == EXPO:
            payload = ExpoPayload(
                content,
                name,
                android=self.android,
                experience_id=self.experience_id,
                scope_key=self.scope_key,
            )
            payload.check(platform)
            return payload
        if form == FCM:
            refuse_legacy(content, name)
        if form != platform:
            raise BadInput(
                f"{name} is {_DESCRIPTIONS[form]}, which {NAMES[platform]} cannot take; expected --{platform}-payload "
                'beside it, a message in Expo\'s format, or {"apns": …, "fcm": …}'
            )
        if form == APNS:
            return ApnsPayload(content, name, self.push_type)
        if is_listing(content):
            message, body = from_listing(content)
            return FcmPayload(message, name, body)
        return FcmPayload(content, name)

    @staticmethod
    def _is_data(content: dict[str, Any], platform: str) -> bool:
        """Whether it is an FCM message of data alone, which Expo's format has, too."""
        return platform == FCM and content.keys() == {"data"}

    def _guess(self, content: dict[str, Any], name: str, sharing: Collection[str]) -> str:
        """The format of a file, from its keys."""
        apns_only = list(sharing) == [APNS]
        if "aps" in content or "mdm" in content or (apns_only and self.push_type not in _EXPO_TYPES):
            return APNS
        if isinstance(content.get("message"), dict) or is_listing(content) or is_legacy(content):
            return FCM
        expo, fcm = _problem(ExpoMessage, content), _problem(Message, content)
        if content and expo and not fcm:
            return FCM
        if content and fcm and (not expo or any(key in content for key in _EXPO_TEXTS)):
            if unknown_keys(content) and (service := service_format(content)):
                raise BadInput(f"{name} {service}")
            return EXPO
        foreign = foreign_format(content) if expo else ""
        if foreign:
            raise BadInput(f"{name} {foreign}")
        if apns_only and (expo or not content):
            return APNS  # for example a VoIP push, which needs no "aps"
        if expo:
            raise BadInput(
                f'{name} is no payload of APNs (there is no "aps"), no message of FCM ({fcm}) and none of '
                f"Expo's ({expo}); expected {self.format_option}"
            )
        if list(sharing) == [FCM] and content:
            return FCM  # data alone: a message of Expo's with nothing else would show nothing
        if content:
            raise BadInput(
                f'{name} has only "data", which may be a data message of FCM, which APNs cannot take, or one in Expo\'s format, '
                f"which shows nothing on iOS; expected {self.format_option} expo, or a payload for each provider"
            )
        raise BadInput(f"{name} is an empty object; expected a message")


def _holds_both(content: dict[str, Any]) -> bool:
    """Whether it is {"apns": …, "fcm": …}. A message of FCM can have an "apns" too, with different keys."""
    if not content or content.keys() - {APNS, FCM}:
        return False
    apns = content.get(APNS)
    return FCM in content or (isinstance(apns, dict) and bool({"aps", "mdm"} & apns.keys()))


def _problem(kind: type[ExpoMessage] | type[Message], content: dict[str, Any]) -> str:
    """Why `kind` does not accept these keys; empty when it does."""
    keys = dict.fromkeys(content)
    try:
        if kind is ExpoMessage:
            ExpoMessage.from_dict(keys, strict=True)
        else:
            kind.from_dict(keys)
    except ValueError as error:
        return printable(str(error), 120)
    return ""
