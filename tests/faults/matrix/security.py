"""Cases 60-68: security."""

from __future__ import annotations

from tests.faults.matrix import Case, absent, proven, same

NATS, REDIS = "tests/backends/test_nats_bad_input.py", "tests/backends/test_redis_bad_input.py"
KAFKA = "tests/backends/test_kafka_bad_input.py"
HERE = "tests/faults/test_secured.py"
# Its parameters are all the mistakes there are: passwords, tokens, certificates, the wrong listener.
MISTAKES = f"{KAFKA}::test_what_only_an_operator_can_mend_is_fatal"
EXPIRES = f"{HERE}::test_a_certificate_that_expires_lets_the_link_live_and_the_next_one_says_so"
CLOSES = f"{HERE}::test_closing_over_tls_does_not_wait_for_a_frozen_server"

CASES = {
    60: Case(
        "wrong password, token, SASL at the start",
        "AuthError without the secret",
        {
            "N": proven(f"{NATS}::test_wrong_logins_are_refused_by_name"),
            "R": proven(f"{REDIS}::test_a_wrong_password_names_the_url"),
            "C": proven(f"{REDIS}::test_a_wrong_password_names_the_fields_of_the_login"),
            "K": proven(MISTAKES),
        },
    ),
    61: Case(
        "password changed while connected",
        "recovers with the new one",
        {
            "N": proven(
                f"{NATS}::test_a_rotated_password_is_read_again_on_the_next_connect",
                "tests/live/test_renewed.py::test_the_next_connect_reads_the_new_password",
            ),
            "R": proven(f"{HERE}::test_a_password_that_redis_no_longer_takes_is_told_and_tried_again"),
            "C": same("61 redis"),
        },
    ),
    62: Case(
        "no permission for our channel",
        "AuthError that names it",
        {
            "N": proven(
                f"{NATS}::test_a_missing_permission_is_told_with_the_channel",
                f"{NATS}::test_a_permission_that_is_taken_away_ends_the_link",
            ),
            "R": proven(f"{REDIS}::test_a_permission_that_is_missing_ends_the_bus_before_it_is_ready"),
            "C": same("62 redis"),
        },
    ),
    63: Case(
        "we demand TLS, the server is plain",
        "no byte of a credential leaves",
        {
            "N": proven(f"{NATS}::test_no_byte_goes_to_a_server_that_offers_no_tls"),
            "R": proven(f"{REDIS}::test_tls_wanted_and_plain_text_offered_sends_no_password"),
            "K": proven(MISTAKES),
            "Z": proven(f"{HERE}::test_zenoh_sends_no_password_to_a_server_without_tls"),
        },
    ),
    64: Case(
        "certificates that are not to be trusted",
        "TlsError with the reason",
        {
            "N": proven(f"{NATS}::test_a_certificate_that_does_not_fit_is_told_with_the_reason"),
            "R": proven(f"{REDIS}::test_a_certificate_is_refused_with_the_reason"),
            "K": proven(MISTAKES),
            "Z": absent("zenoh refuses the link, and tells a client no reason"),
        },
    ),
    65: Case(
        "certificate expires while connected",
        "TlsError at the reconnect",
        {
            "N": proven(f"{EXPIRES}[nats]"),
            "R": proven(f"{EXPIRES}[redis]"),
            "K": same("65 nats"),
            "Z": absent("zenoh refuses the link, and tells a client no reason"),
        },
    ),
    66: Case(
        "close over TLS while the broker is frozen",
        "<= 2 s",
        {
            "N": proven(f"{CLOSES}[nats]"),
            "R": proven(f"{CLOSES}[redis]"),
            "K": same("66 nats"),
            "Z": same("6 zenoh"),
        },
    ),
    67: Case(
        "malformed credentials text",
        "ConfigError at once",
        {"N": proven(f"{NATS}::test_malformed_credentials_are_told_before_anything_is_sent")},
    ),
    68: Case(
        "foreign Zenoh peer, wrong namespace, ACL",
        "no cross-talk",
        {
            "Z": proven(
                "tests/backends/test_zenoh_peers.py::test_two_clusters_side_by_side_do_not_mix",
                "tests/backends/test_zenoh_peers.py::test_processes_of_two_users_do_not_mix",
                "tests/backends/test_zenoh_conformance.py::TestZenoh::test_channels_do_not_mix",
            )
        },
    ),
}
