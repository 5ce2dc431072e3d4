"""The API does what its own OpenAPI document says, whatever is sent to it: schemathesis makes the requests."""
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from .stage import Stage, a_call, a_transfer

EXCLUDED = [positive_data_acceptance]
"""A schema cannot say all that makes an action or an `after` a good one."""
EXAMPLES = 10
"""Requests for each operation and way of making them."""


TOKEN = "a-token-of-the-tests"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    """One that wants a token, as the document says."""
    bind = 'bind = "127.0.0.1:8080"'
    with Stage(tmp_path_factory.mktemp("services"), swap=((bind, f'{bind}\ntoken_env = "API_TOKEN"'),),
               environment={"API_TOKEN": TOKEN}) as stage:
        stage.http.headers.update(HEADERS)
        yield stage


def document(stage: Stage) -> dict:
    found: dict = stage.http.get("/schema/openapi.json").json()
    return found


def operations(found: dict) -> list[tuple[str, str]]:
    return [(path, method) for path, methods in found["paths"].items() for method in methods]


def test_the_document_names_every_route(stage):
    found = operations(document(stage))
    assert ("/v1/calls/{call_id}/transfer", "post") in found
    assert len(found) >= 23


def test_every_operation_says_what_it_is_and_how_it_refuses(stage):
    for methods in document(stage)["paths"].values():
        for operation in methods.values():
            assert operation["summary"]
            for status, answer in operation["responses"].items():
                media = list(answer.get("content", {}))
                assert media in ([], ["application/json"]) if status < "400" else media == ["application/problem+json"]


def test_the_api_keeps_to_its_document(stage):
    raw = document(stage)
    schema = schemathesis.openapi.from_dict(raw)
    schema.config.base_url = stage.url
    # What is too big is refused before anything of it is read.
    refusals = schema.config.checks.negative_data_rejection
    refusals.expected_statuses = [*refusals.expected_statuses, "413"]
    call, transfer = a_call(), a_transfer("0" * 26)
    known = {"call_id": call.id, "transfer_id": transfer.id, "name": "desk"}
    addresses = {"/v1/bans/{address}": "192.0.2.9"}

    def check(operation, mode: GenerationMode) -> None:
        strategy = operation.as_strategy(generation_mode=mode)

        @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None,
                  suppress_health_check=list(HealthCheck))
        @given(strategy, st.booleans())
        def run(case, there: bool) -> None:
            stage.stand_in.calls = {call.id: call}
            stage.stand_in.transfers = {transfer.id: transfer}
            stage.stand_in.bans = {"192.0.2.9": 60}
            call.transfer = ""
            if there:
                # Else hardly any request would be about something that is there.
                if "address" in (case.path_parameters or {}):
                    case.path_parameters["address"] = addresses.get(operation.path, "127.0.0.3:5060")
                for name in set(known) & set(case.path_parameters or {}):
                    case.path_parameters[name] = known[name]
            answer = case.call(headers=HEADERS, timeout=10)
            case.validate_response(answer, excluded_checks=EXCLUDED, headers=HEADERS)

        run()

    for result in schema.get_all_operations():
        assert isinstance(result, Ok)
        operation = result.ok()
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            try:
                check(operation, mode)
            except Unsatisfiable:
                # There is no wrong request to an operation that takes nothing.
                assert mode is GenerationMode.NEGATIVE
