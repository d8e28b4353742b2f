"""A set-up of AWS that cannot work: the error is in the client's or the service's words, and says what to do."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from botocore.exceptions import ClientError, CredentialRetrievalError

from session_continuity import StorageError, UnavailableError, portable
from session_continuity_dynamodb import DynamoDBStorage
from session_continuity_dynamodb.requests.errors import translate

from ..kit.modes import MODES, ModeRunner

SSO = """[profile work]
sso_session = s
sso_account_id = 123456789012
sso_role_name = reader
[sso-session s]
sso_start_url = https://example.invalid/start
sso_region = us-east-1
"""
ROLE = "[profile work]\nrole_arn = arn:aws:iam::123456789012:role/r\nsource_profile = gone\n"
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
MISSING = "/no/such/file"
TOKEN = {"AWS_WEB_IDENTITY_TOKEN_FILE": MISSING, "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/r"}


@pytest.fixture
def port() -> Iterator[int]:
    """A port that accepts connections and never answers."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        yield listening.getsockname()[1]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("environment", "config", "words"),
    [
        (TOKEN, "", f"cannot be read: {MISSING} .* AWS_WEB_IDENTITY_TOKEN_FILE"),
        ({**KEYS, "AWS_CA_BUNDLE": MISSING}, "", "(cannot be read|invalid path).*AWS_CA_BUNDLE"),
        ({**KEYS, "AWS_PROFILE": "gone"}, "", r"profile \(gone\) could not be found; .*profile="),
        ({**KEYS, "AWS_DEFAULT_REGION": "not a region"}, "", "'not a region'.*eu-west-1"),
        ({**KEYS, "AWS_DEFAULT_REGION": None}, "", "specify a region; add"),
        (KEYS, "[profile torn\n", "parse config file.*correct"),
        ({"AWS_PROFILE": "work"}, SSO, "SSO Token.*aws sso login"),
        ({"AWS_PROFILE": "work"}, ROLE, '"gone" .* does not exist; correct that profile'),
        ({"AWS_ACCESS_KEY_ID": "test"}, "", "missing: AWS_SECRET_ACCESS_KEY"),
        ({}, "", "locate credentials; set a profile"),
    ],
    ids=["token file", "authorities", "profile", "region", "no region", "syntax", "login", "role", "half", "none"],
)
def test_wrong_setup_is_named_and_not_retryable(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    port: int,
    mode: str,
    environment: dict[str, str | None],
    config: str,
    words: str,
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "config"
    file.write_text(config)
    own = {"HOME": str(tmp_path), "AWS_CONFIG_FILE": str(file), "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in {**own, "AWS_EC2_METADATA_DISABLED": "true", **environment}.items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    runner = ModeRunner("async" if mode == "async" else "blocking")
    options = {"endpoint_url": f"https://127.0.0.1:{port}", "max_attempts": 1, "read_timeout": 5}
    store = portable(DynamoDBStorage(table="any", mode=runner.mode, **options))
    with pytest.raises(StorageError, match=f"(?s){words}") as raised:
        runner.run(store.get_session("any"))
    assert not raised.value.retryable
    runner.run(store.close())
    runner.close()


def refused(code: str, message: str, operation: str = "GetItem") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, operation)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (refused("InvalidSignatureException", "Signature expired: 20360301T1 is now earlier than 20360301T2"), "clock"),
        (refused("RequestTimeTooSkewed", "too skewed"), "clock of this machine .* NTP"),
        (
            refused("UnrecognizedClientException", "The security token is invalid."),
            "token is invalid.*letters and digits",
        ),
        (refused("AccessDenied", "Not authorized", "AssumeRoleWithWebIdentity"), "no credentials .*Not authorized"),
    ],
)
def test_identity_that_the_service_refuses_is_named_in_its_words(error: ClientError, words: str) -> None:
    translated = translate(error, "any")
    assert isinstance(translated, StorageError)
    assert not isinstance(translated, UnavailableError)
    with pytest.raises(StorageError, match=words):
        raise translated


def test_words_of_others_do_not_bring_secrets_or_control_characters() -> None:
    signed = refused(
        "InvalidSignatureException", "does not match\u009b\nThe Canonical String: x-amz-security-token:SECRET"
    )
    for error in (signed, CredentialRetrievalError(provider="custom-process", error_msg="SECRET")):
        text = str(translate(error, "any"))
        assert "SECRET" not in text
        assert text.isprintable()
