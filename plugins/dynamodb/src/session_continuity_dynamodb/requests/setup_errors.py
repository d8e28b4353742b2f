"""What is wrong with the set-up of AWS on this machine, in the client's or the service's words, and what to do.

Credentials, profiles, regions, certificates, clocks: repeating the same call helps with none of them.
"""

from __future__ import annotations

from collections.abc import Iterator

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConfigNotFound,
    ConfigParseError,
    CredentialRetrievalError,
    InvalidConfigError,
    InvalidRegionError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)

_CREDENTIALS = "set a profile, the AWS_* variables, or a role"
_REMEDIES: tuple[tuple[type[BotoCoreError], str], ...] = (
    (NoRegionError, "add ?region=… to the URL, or set AWS_REGION"),
    (InvalidRegionError, "write the region as in eu-west-1: in the URL's ?region=…, AWS_REGION or the profile"),
    (ProfileNotFound, "name a profile of ~/.aws/config in the URL's ?profile=… or in AWS_PROFILE"),
    (ConfigNotFound, "check AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE"),
    (ConfigParseError, "correct the syntax of that file"),
    (InvalidConfigError, "correct that profile in the AWS configuration"),
    (SSOError, "log in with `aws sso login`, with --profile if you use one"),
    (TokenRetrievalError, "log in with `aws sso login`, with --profile if you use one"),
    (PartialCredentialsError, _CREDENTIALS),
    (NoCredentialsError, _CREDENTIALS),
)

_FILES = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
_UNTRUSTED = "CERTIFICATE_VERIFY_FAILED"
_SKEWED = frozenset({"RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture"})
_SKEWED_WORDS = ("Signature expired", "Signature not yet current")
_IDENTITY = frozenset(
    {
        "ExpiredTokenException",
        "IncompleteSignatureException",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationTokenException",
        "UnrecognizedClientException",
    }
)
_LONGEST = 300


def setup_problem(error: Exception) -> str | None:
    """What is wrong with the set-up, and what to do, if that is why a request was not made; otherwise None."""
    for kind, remedy in _REMEDIES:
        if isinstance(error, kind):
            return f"{_words(error)}; {remedy}"
    if isinstance(error, CredentialRetrievalError):  # its words may quote the output of a program
        return (
            f"the AWS credentials could not be fetched ({type(error).__name__}); run that provider by hand to see why"
        )
    if isinstance(error, ValueError) and str(error).startswith("Invalid endpoint"):
        return "the endpoint is not a URL; write http://host:port or https://host in endpoint_url or AWS_ENDPOINT_URL"
    return _file_problem(error)


def _file_problem(error: Exception) -> str | None:
    """A problem with a token file, or with the certificates against which the service's is checked."""
    for cause in _causes(error):
        if isinstance(cause, _FILES):
            name = f" {_printable(str(cause.filename))}" if cause.filename else ""
            return (
                f"a file that the AWS client needs cannot be read:{name} ({type(cause).__name__}); check "
                "AWS_WEB_IDENTITY_TOKEN_FILE, AWS_CA_BUNDLE, and the files that the AWS configuration names"
            )
        if _UNTRUSTED in str(cause):
            return (
                "the certificate of the endpoint is not trusted; name the authority in AWS_CA_BUNDLE, or check the "
                "endpoint's host name"
            )
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and what it was raised from or during."""
    while error is not None:
        yield error
        wrapped = getattr(error, "kwargs", {}).get("error") if isinstance(error, BotoCoreError) else None
        error = error.__cause__ or error.__context__ or (wrapped if isinstance(wrapped, BaseException) else None)


def identity_problem(error: ClientError, code: str) -> str | None:
    """Why the service does not accept the identity of a request, and what to do; otherwise None."""
    words = _service_words(error)
    if code in _SKEWED or words.startswith(_SKEWED_WORDS):
        return f"the clock of this machine differs from AWS's ({code}: {words}); set it, for example by NTP"
    operation: str = error.operation_name
    if operation.startswith(("AssumeRole", "GetRoleCredentials", "CreateToken", "GetSessionToken")):
        return f"AWS gives no credentials ({operation}: {code}: {words}); check the role, its trust, and the login"
    if code in _IDENTITY:
        return (
            f"AWS does not accept the credentials ({code}: {words}); renew them. DynamoDB Local takes access keys of "
            "letters and digits only"
        )
    return None


def _service_words(error: ClientError) -> str:
    message = str(error.response.get("Error", {}).get("Message", "")).strip()
    # Further lines of a signature error quote the request's headers, with the session token.
    return _printable(message.partition("\n")[0])


def _words(error: Exception) -> str:
    return _printable(str(error)).rstrip(".")


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text[:_LONGEST])
