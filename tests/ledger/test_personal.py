"""Personal data: found where it may stand, hidden, and nothing else changed."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenant_pipelines.ledger.personal import COLUMNS, HIDDEN, redacted

PEOPLE = ("Ada", "Lovelace", "ada.l@acme.example", "", "O")


def hidden(document: dict[str, Any]) -> dict[str, Any]:
    return redacted(document, PEOPLE)


@pytest.mark.parametrize(
    "address",
    ["ada.l@acme.example", "o'brien@x.example", "a+b@localhost", "ünï@münchen.example", "ada.l%40acme.example"],
)
def test_an_address_is_hidden_wherever_it_stands(address: str) -> None:
    document = hidden(
        {
            "execution": {"error": f"user '{address}' exists.", "result": {"leftBehind": [{"name": address}]}},
            "steps": [{"found": [{"name": address, "kind": "user"}], "facts": {"login": address}}],
            "attempts": [{"error": f"GET /users?email={address}&exact=true: 500"}],
            "history": [{"details": {"found": [address]}}],
            "left_behind": [{"name": address, "reason": f"({address})"}],
        }
    )

    assert document["execution"] == {
        "error": f"user '{HIDDEN}' exists.",
        "result": {"leftBehind": [{"name": HIDDEN}]},
    }
    assert document["steps"] == [{"found": [{"name": HIDDEN, "kind": "user"}], "facts": {"login": HIDDEN}}]
    assert document["attempts"] == [{"error": f"GET /users?email={HIDDEN}&exact=true: 500"}]
    assert document["history"] == [{"details": {"found": [HIDDEN]}}]
    assert document["left_behind"] == [{"name": HIDDEN, "reason": f"({HIDDEN})"}]


def test_names_of_the_tenants_people_are_hidden_in_free_text_as_whole_words() -> None:
    error = "Keycloak: Ada Lovelace (Ada) is known; adaptive Adam in Ada_1 is not, nor is O"

    [attempt] = hidden({"attempts": [{"error": error}]})["attempts"]

    assert attempt["error"] == (
        f"Keycloak: {HIDDEN} {HIDDEN} ({HIDDEN}) is known; adaptive Adam in Ada_1 is not, nor is O"
    )


def test_a_name_that_is_also_a_word_of_ours_spoils_no_structure() -> None:
    document = {
        "execution": {"state": "Ada", "step": "Ada", "workflow_id": "Ada", "requested_by": "Ada", "error": None},
        "steps": [
            {"step": "Ada", "state": "Ada", "found": [{"kind": "Ada", "system": "Ada"}], "facts": {"Ada": "Ada"}}
        ],
        "history": [{"type": "Ada", "details": {"by": "ada.l@acme.example", "failedStep": "Ada"}}],
    }

    assert hidden(document) == document


def test_what_was_sent_is_hidden_by_the_meaning_of_its_keys() -> None:
    sent = {
        "tenantId": "6f2b7c3e",
        "tier": "silo",
        "contacts": [{"firstName": "Bob", "isPrimary": True, "age": 7, "nick": None}],
        "idpConfig": {"admin_email": "x", "adminFirstName": "Bob", "adminUserId": "u-1", "provider": "keycloak"},
        "address": {"street": "Main St", "zip": 4711},
        "note": "Ada asked for it",
    }

    [signal] = hidden({"signals": [{"payload": sent}]})["signals"]
    assert hidden({"execution": {"input": sent}})["execution"]["input"] == signal["payload"]

    assert signal["payload"] == {
        "tenantId": "6f2b7c3e",
        "tier": "silo",
        "contacts": [{"firstName": HIDDEN, "isPrimary": True, "age": HIDDEN, "nick": None}],
        "idpConfig": {
            "admin_email": HIDDEN,
            "adminFirstName": HIDDEN,
            "adminUserId": "u-1",
            "provider": "keycloak",
        },
        "address": {"street": HIDDEN, "zip": HIDDEN},
        "note": f"{HIDDEN} asked for it",
    }


def test_what_only_looks_like_an_address_stays() -> None:
    for text in ("registry.example/app@sha256:0f", "a @ b", "@here", "at 10:00", "user@"):
        assert hidden({"attempts": [{"error": text}]})["attempts"] == [{"error": text}]


@pytest.mark.parametrize("text", ["ab0." * 50_000, "a'" * 50_000, "a%4" * 50_000, "'" * 50_000])
def test_a_long_text_without_spaces_takes_no_time(text: str) -> None:
    assert hidden({"attempts": [{"error": text}]})["attempts"] == [{"error": text}]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.just("ada.l@acme.example") | st.just("Ada"),
    lambda below: (
        st.lists(below, max_size=3)
        | st.dictionaries(st.sampled_from(["error", "by", "email", "x", "contacts"]), below, max_size=3)
    ),
    max_leaves=12,
)


@given(value=_JSON, table=st.sampled_from(sorted(COLUMNS)))
def test_once_more_changes_nothing_and_the_rest_is_the_same(value: Any, table: str) -> None:
    row = dict.fromkeys(COLUMNS[table], value) | {"id": "ada.l@acme.example", "state": value}
    document = {table: row if table == "execution" else [row], "owed": [{"step": value}], "runs": [{"x": value}]}

    once = hidden(document)

    assert hidden(once) == once
    assert (once["owed"], once["runs"]) == (document["owed"], document["runs"])
    [after] = [once[table]] if table == "execution" else once[table]
    assert (after["id"], after["state"]) == (row["id"], row["state"])
