"""transfers.md section 3: where variables come from, what is missing, and answers of a model."""
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.policy import context
from proxy.policy.context import BadVariable, lookup
from proxy.policy.headers import Patterns, valid_value
from proxy.policy.placement import fill_text

JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
                    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=40)


def text(variables: dict, name: str) -> str | None:
    return lookup(variables, name)[0]


class TestSources:
    def test_pre_call_webhook(self):
        assert text({"results": {"data": {"name": "Ann"}, "vip": True}}, "results.data.name") == "Ann"

    def test_during_call_action(self):
        results = {"data": {"data": {"price": 12.5}}, "quote": {"data": {"price": 12.5}}}
        assert text({"results": results}, "results.data.data.price") == "12.5"
        assert text({"results": results}, "results.quote.data.price") == "12.5"

    def test_flow_variable(self):
        assert text(context.changed({}, {"variable_name": "v"}), "variable_name") == "v"

    def test_inbound_x_header_in_any_case_the_first_of_its_name(self):
        found = context.call_variables("c", "sip:1@h", "sip:2@h", [
            ("x-customer", "Ann\tB"), ("X-Customer", "Eve"), ("Via", "x"), ("X-Internal-Id", "7")],
            Patterns(["X-Internal-*"]))
        assert text(found, "X-Customer") == "Ann B"
        assert text(found, "X-Internal-Id") is None
        assert "Via" not in found

    def test_system_variables(self):
        found = context.call_variables("abc@h", "sip:%2B4930@h;user=phone", "tel:+1-202")
        assert [text(found, name) for name in ("call_id", "from_phone_number", "to_phone_number")] == [
            "abc@h", "+4930", "+1-202"]
        assert text(context.call_variables("c", "sip:h", "sip:2@h"), "from_phone_number") is None


class TestMissing:
    @pytest.mark.parametrize(("value", "expected"), [
        ("a", "a"), ("", ""), (7, "7"), (True, "true"), (False, "false"), (1.5, "1.5"), (0, "0"), (-2.0, "-2.0"),
    ])
    def test_scalars_print(self, value, expected):
        assert text({"v": value}, "v") == expected

    @pytest.mark.parametrize("value", [None, [], ["a"], {}, {"a": 1}, float("nan"), float("inf"), 2**63, b"a"])
    def test_all_else_counts_as_missing(self, value):
        found, why = lookup({"v": value}, "v")
        assert found is None
        assert "{v}" in why

    def test_why_is_said(self):
        variables = {"results": {"list": [1], "long": "é" * 2049, "table": {}}}
        assert [lookup(variables, f"results.{name}")[1] for name in ("no", "list", "table", "long", "list.0")] == [
            "no {results.no}", "{results.list} is a list", "{results.table} is a table",
            "{results.long} is longer than 4,096 bytes", "no {results.list.0}"]


class TestNames:
    @pytest.mark.parametrize("name", ["results.data.name", "results.a-b.0", "variable_name", "X-Name", "call_id",
                                      "a-b"])
    def test_what_a_template_may_read(self, name):
        assert context.compile_template(f"a {{{name}}}").pieces[0][1] == name

    @pytest.mark.parametrize("name", ["", "results", "results.", "results..a", "a.b", "1a", "a b", "é", "X-A.b",
                                      "results." + ".".join("abcdefgh"), "results.é", "a" * 65])
    def test_what_it_may_not(self, name):
        with pytest.raises(ValueError, match="expected"):
            context.compile_template(f"{{{name}}}")


class TestSetting:
    def test_none_takes_away(self):
        assert context.changed({"a": "1", "b": "2"}, {"a": None, "c": "3", "X-Y": "4"}) == {"b": "2", "c": "3",
                                                                                             "X-Y": "4"}

    @pytest.mark.parametrize("name", ["results", "call_id", "from_phone_number", "to_phone_number", "", "a.b", "a b",
                                      "é", "Via:", "a\n"])
    def test_what_is_the_edge_s_own_or_no_name(self, name):
        with pytest.raises(BadVariable) as found:
            context.changed({}, {"fine": "1", name: "x"})
        assert found.value.args[0] == name

    def test_bounds(self):
        with pytest.raises(BadVariable, match="4,096 bytes, found 4,097"):
            context.changed({}, {"a": "x" * 4097})
        with pytest.raises(BadVariable, match="256"):
            context.changed({}, {f"v{number}": "" for number in range(257)})

    @given(JSON, st.sampled_from(["v", "results.a", "results.a.b"]))
    def test_whatever_an_answer_holds_a_variable_is_bounded_text_or_missing(self, value, name):
        found, why = lookup({"v": value, "results": value}, name)
        assert (found is None) == bool(why)
        assert len((found or "").encode("utf-8", "surrogatepass")) <= context.VALUE_LIMIT


class TestSpokenText:
    def test_variables_are_filled_and_missing_ones_are_silent(self):
        assert fill_text("Hello  {name},\n{{{results.a}}} {no}", {"name": "A\nB", "results": {"a": 3}}, 100) == (
            "Hello A B, {3}")

    @given(st.text(), st.integers(1, 200))
    def test_it_is_one_line_within_its_limit(self, value, longest):
        spoken = fill_text("Call from {name}", {"name": value}, longest)
        assert len(spoken.encode()) <= longest
        assert valid_value(spoken)
