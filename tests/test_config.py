"""Settings: what is read, what is refused, and that a child process reads the same."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from service.config import Settings, explain, is_loopback, parse_duration, unknown_variables


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the machine's own environment says is not under test."""
    for name in os.environ:
        if name.startswith("INBOXD_"):
            monkeypatch.delenv(name)


def refusal(**settings: object) -> str:
    with pytest.raises(ValidationError) as caught:
        Settings(**settings)  # type: ignore[arg-type]
    return explain(caught.value)


def test_every_setting_has_a_default() -> None:
    settings = Settings()
    assert (settings.host, settings.port, settings.workers) == ("127.0.0.1", 8000, 2)
    assert settings.redis_url is None
    assert settings.data_dir == Path("./data")
    assert settings.retention == 30 * 86400
    assert settings.own_copy is True


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INBOXD_PORT", "9000")
    monkeypatch.setenv("INBOXD_DEDUPE_WINDOW", "24h")
    monkeypatch.setenv("INBOXD_HOLE_PATIENCE", "250ms")
    monkeypatch.setenv("INBOXD_OWN_COPY", "off")
    monkeypatch.setenv("INBOXD_ORIGINS", "https://a.test, https://b.test")
    settings = Settings()
    assert settings.port == 9000
    assert settings.dedupe_window == 86400
    assert settings.hole_patience == 0.25
    assert settings.own_copy is False
    assert settings.origins == ("https://a.test", "https://b.test")


def test_a_keyword_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INBOXD_PORT", "9000")
    assert Settings(port=9001).port == 9001


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INBOXD_REDIS_URL", "")
    monkeypatch.setenv("INBOXD_PORT", "")
    assert Settings() == Settings(redis_url=None, port=8000)


def test_settings_cannot_be_changed_afterwards() -> None:
    with pytest.raises(ValidationError):
        Settings().port = 1  # type: ignore[misc]


@given(
    st.builds(
        Settings,
        port=st.integers(0, 65535),
        redis_url=st.none() | st.just("redis://user:secret@127.0.0.1:6380/3"),
        data_dir=st.just(Path("some where/data")),
        origins=st.lists(st.sampled_from(("https://a.test", "http://localhost:3000"))).map(tuple),
        own_copy=st.booleans(),
        retention=st.floats(min_value=0, max_value=1e18, exclude_min=True),
        ack_delay=st.floats(min_value=0, max_value=100),
        durability=st.sampled_from(("auto", "appended", "fsynced")),
        log_level=st.sampled_from(("debug", "info", "warning", "error")),
        prefix=st.sampled_from(("chat:", "a.b/c_")),
    )
)
def test_a_child_process_reads_equal_settings(settings: Settings) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.environ().items():
            patch.setenv(name, value)
        assert Settings() == settings


def test_environ_names_every_setting_that_has_a_value() -> None:
    unset = {f"INBOXD_{name.upper()}" for name, field in Settings.model_fields.items() if field.default is None}
    names = {f"INBOXD_{name.upper()}" for name in Settings.model_fields}
    assert set(Settings().environ()) == names - unset
    assert set(Settings(redis_url="redis://127.0.0.1").environ()) == names - unset | {"INBOXD_REDIS_URL"}


def test_a_key_of_several_lines_reaches_a_child_process_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(auth="jwt", jwt_public_key="-----BEGIN PUBLIC KEY-----\nab+/=\n-----END PUBLIC KEY-----\n")
    for name, value in settings.environ().items():
        monkeypatch.setenv(name, value)
    assert Settings() == settings


@pytest.mark.parametrize(
    ("written", "seconds"),
    (("10", 10), ("250ms", 0.25), ("10s", 10), ("5m", 300), ("24h", 86400), ("30d", 2592000), (" 1.5 s ", 1.5)),
)
def test_a_duration_is_a_number_of_seconds_or_has_a_suffix(written: str, seconds: float) -> None:
    assert parse_duration(written) == seconds


@pytest.mark.parametrize("written", ("", "s", "1w", "-1", "1 2", "nan", "inf", "ten", None, True, -1.5, [1], "1e5"))
def test_anything_else_is_no_duration(written: object) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(written)


@given(st.floats(min_value=0, max_value=1e12))
def test_a_number_is_a_duration_as_it_is(seconds: float) -> None:
    assert parse_duration(seconds) == seconds


def test_a_heartbeat_of_nothing_is_refused() -> None:
    assert refusal(heartbeat=0) == "INBOXD_HEARTBEAT: must be longer than nothing"


@pytest.mark.parametrize("host", ("127.0.0.1", "127.1.2.3", "::1", "localhost", "LOCALHOST"))
def test_a_loopback_address_needs_no_authentication(host: str) -> None:
    assert is_loopback(host)
    assert Settings(host=host).host == host


@pytest.mark.parametrize("host", ("0.0.0.0", "::", "10.0.0.1", "192.168.1.2", "example.org", "localhost.example.org"))
def test_any_other_address_is_refused_with_a_remedy(host: str) -> None:
    assert not is_loopback(host)
    said = refusal(host=host)
    assert said.startswith("INBOXD_HOST: ")
    assert "INBOXD_AUTH=off" in said
    assert "Listen on 127.0.0.1" in said


@pytest.mark.parametrize(
    ("name", "value", "words"),
    (
        ("auth", "basic", "there are 'off' and 'jwt'"),
        ("origins", "*", "scheme://host"),
        ("origins", "https://chat.example/", "nothing behind it"),
        ("origins", "https://chat.example,chat.example", "scheme://host"),
        ("origins", "https://Chat.example", "lower case"),
        ("durability", "replicated", "replicated:N"),
        ("durability", "replicated:0", "replicated:N"),
        ("durability", "fsynced:1", "'auto', 'appended', 'fsynced'"),
        ("redis_url", "redis+proxy://:secret@h:1/m", "redis+sentinel://"),
        ("redis_url", "http://h", "redis://"),
        ("prefix", "chat:{x}", "braces"),
        ("prefix", "ch at", "visible ASCII"),
        ("prefix", "", "visible ASCII"),
        ("port", 70000, "65535"),
        ("workers", 0, "greater than or equal to 1"),
        ("history", 0, "greater than or equal to 1"),
        ("log_level", "loud", "debug"),
    ),
)
def test_what_this_version_cannot_do_is_refused_by_name(name: str, value: object, words: str) -> None:
    said = refusal(**{name: value})
    assert said.startswith(f"INBOXD_{name.upper()}: ")
    assert words in said


@pytest.mark.parametrize(
    "settings",
    ({"dead_after": 3, "heartbeat": 3}, {"reader_block": 5, "redis_timeout": 5}, {"max_frame": 100, "max_body": 100}),
    ids=("dead_after", "reader_block", "max_frame"),
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, object]) -> None:
    said = refusal(**settings)
    assert all(f"INBOXD_{name.upper()}" in said for name in settings)


SECRET = "a-secret-of-the-tests-with-enough-bytes"


@pytest.mark.parametrize(
    ("settings", "words"),
    (
        ({"auth": "jwt"}, "There is none"),
        ({"auth": "jwt", "jwt_secret": SECRET, "jwks_url": "/k"}, "more than one: INBOXD_JWT_SECRET, INBOXD_JWKS_URL"),
        ({"auth": "jwt", "jwt_secret": SECRET, "jwt_public_key": "/k"}, "more than one"),
        ({"jwt_secret": SECRET}, "INBOXD_JWT_SECRET is set"),
        ({"jwt_public_key": "/k"}, "INBOXD_JWT_PUBLIC_KEY is set"),
        ({"jwks_url": "https://issuer.example/keys"}, "INBOXD_JWKS_URL is set"),
        ({"jwt_audience": "chat"}, "INBOXD_JWT_AUDIENCE is set"),
        ({"jwt_issuer": "me"}, "INBOXD_JWT_ISSUER is set"),
    ),
)
def test_tokens_are_checked_in_one_way_or_not_at_all(settings: dict[str, object], words: str) -> None:
    said = refusal(**settings)
    assert said.startswith("INBOXD_AUTH")
    assert words in said
    assert SECRET not in said


@pytest.mark.parametrize("host", ("0.0.0.0", "::", "10.0.0.1", "chat.example.org"))
def test_with_tokens_it_may_listen_anywhere(host: str) -> None:
    assert Settings(host=host, auth="jwt", jwt_secret=SECRET).host == host


@pytest.mark.parametrize(
    "origin", ("https://chat.example", "http://localhost:3000", "http://[::1]:8000", "capacitor://localhost")
)
def test_an_origin_is_taken_as_browsers_write_it(origin: str) -> None:
    assert Settings(origins=origin).origins == (origin,)


def test_what_is_secret_about_tokens_is_shown_nowhere() -> None:
    shown = repr(Settings(auth="jwt", jwt_secret=SECRET)) + str(Settings(auth="jwt", jwt_secret=SECRET))
    shown += repr(Settings(auth="jwt", jwks_url=f"https://me:{SECRET}@issuer.example/keys"))
    with pytest.raises(ValidationError) as caught:
        Settings(auth="jwt", jwt_secret=SECRET, jwks_url=SECRET, port=-1)
    assert SECRET not in shown + str(caught.value) + repr(caught.value) + explain(caught.value)


def test_the_commands_token_is_no_unknown_variable() -> None:
    assert unknown_variables({"INBOXD_TOKEN": "x"}) == []


def test_a_password_is_shown_nowhere() -> None:
    url = "redis://user:hunter2@127.0.0.1:6380"
    assert "hunter2" not in repr(Settings(redis_url=url))
    with pytest.raises(ValidationError) as caught:
        Settings(redis_url="redis+sentinel://user:hunter2@h", port=-1)
    assert "hunter2" not in str(caught.value) + explain(caught.value)


def test_unknown_variables_are_found() -> None:
    environ = {"INBOXD_PROT": "1", "INBOXD_PORT": "1", "inboxd_host": "x", "INBOXD_READY_FD": "7", "HOME": "/"}
    assert unknown_variables(environ) == ["INBOXD_PROT"]


SECRET = "whsec_" + "c2VjcmV0IG9mIGEgdGVzdCwgMzIgYnl0ZXMgbG9uZy4="
HOOK = "https://backend.example/hooks/inboxd?as=bob"


def test_push_is_off_until_there_is_a_url() -> None:
    assert Settings().push_url is None
    settings = Settings(push_url=HOOK, push_secret=f"{SECRET} {SECRET}")
    assert (settings.push_after, settings.push_format) == (10, "webhook")


@pytest.mark.parametrize(
    ("settings", "says"),
    (
        ({"push_url": HOOK}, "INBOXD_PUSH_SECRET is missing"),
        ({"push_secret": SECRET}, "INBOXD_PUSH_URL, which is not set"),
        ({"push_url": HOOK, "push_secret": "swordfish"}, "whsec_ and 24 to 64 bytes"),
        ({"push_url": HOOK, "push_secret": SECRET + "="}, "whsec_ and 24 to 64 bytes"),
        ({"push_url": HOOK, "push_secret": f"{SECRET} whsec_c2hvcnQ="}, "whsec_ and 24 to 64 bytes"),
        ({"push_url": "http://backend.example/", "push_secret": SECRET}, "must begin with https://"),
        ({"push_url": "ftp://backend.example/", "push_secret": SECRET}, "is no URL"),
        ({"push_url": "https:///hooks", "push_secret": SECRET}, "is no URL"),
        ({"push_url": "https://a.example/ b", "push_secret": SECRET}, "is no URL"),
        ({"push_url": "https://a.example/#b", "push_secret": SECRET}, "is no URL"),
        ({"push_url": HOOK, "push_secret": SECRET, "push_format": "smoke"}, "INBOXD_PUSH_FORMAT"),
        ({"push_url": HOOK, "push_secret": SECRET, "push_backoff": 700}, "INBOXD_PUSH_BACKOFF_MOST"),
    ),
)
def test_push_that_could_not_be_believed_or_would_leak_is_refused(settings: dict[str, object], says: str) -> None:
    text = refusal(**settings)
    assert says in text
    assert "swordfish" not in text


def test_ones_own_network_is_named_without_tls_only_on_purpose() -> None:
    assert Settings(push_url="http://10.0.0.7/", push_secret=SECRET, push_private=True).push_private


def test_a_matrix_gateway_checks_no_signature_and_so_needs_no_secret() -> None:
    assert Settings(push_url=HOOK, push_format="matrix").push_secret is None
