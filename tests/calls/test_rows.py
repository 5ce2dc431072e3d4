"""Which test shows which row of transfers.md sections 2, 3, 5 and 7: the one table of it. That every test named here is
there, and every row is named, is checked."""
import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent.parent
SECTIONS, REFER, WARM, BLIND = ("calls/test_sections", "calls/test_refer", "calls/test_warm", "calls/test_blind")
LEG, INSIDE, WAYS, TARGETS, PLACES = ("stack/test_leg_refer", "stack/test_leg_inside", "stack/test_leg_ways",
                                      "policy/test_targets", "policy/test_placement")
SIZE, CHALLENGES, FAILURES, FORWARDED = ("calls/test_size", "calls/test_challenges", "calls/test_failures",
                                         "stack/test_refer")

SECTION_2 = {
    "basic": [(SECTIONS, "test_formats_by_refer"), (SECTIONS, "test_formats_by_invite"), (TARGETS, "test_basic")],
    "with port": [(SECTIONS, "test_formats_by_refer"), (SECTIONS, "test_formats_by_invite"),
                  (TARGETS, "test_with_port")],
    "secure": [(SECTIONS, "test_sips_is_refused_before_a_packet_leaves"),
               (SECTIONS, "test_sips_by_refer_is_told_as_it_is"),
               (SECTIONS, "test_sips_by_invite_goes_by_tls_and_never_in_another_way"),
               (TARGETS, "test_secure_is_refused_never_downgraded"),
               ("policy/test_transports", "test_sips_by_an_upstream_without_tls"),
               ("scenarios/test_names", "test_a_target_by_tls_proves_the_name_that_was_asked_for")],
    "E.164": [(SECTIONS, "test_formats_by_refer"), (SECTIONS, "test_formats_by_invite"), (TARGETS, "test_e164")],
    "raw": [(SECTIONS, "test_raw_with_custom_telephony_becomes_a_uri_of_that_upstream"),
            (SECTIONS, "test_raw_anywhere_else_is_refused_with_a_clear_error")],
    "tel": [(SECTIONS, "test_tel_becomes_what_the_upstreams_template_says"),
            (SECTIONS, "test_tel_by_refer_is_what_the_callers_server_understands"),
            (TARGETS, "test_tel_for_refer_follows_the_referee_s_template_if_it_has_one")],
}
SECTION_3 = {
    "name": [("policy/test_actions", "test_standard_headers_can_never_be_set"),
             ("policy/test_headers", "test_names_that_match_the_pattern"),
             ("policy/test_headers", "test_names_that_do_not")],
    "value": [(SECTIONS, "test_no_content_of_a_variable_or_an_answer_adds_a_header"),
              (PLACES, "test_no_variable_answer_or_webhook_value_adds_a_header")],
    "pre-call webhook": [(SECTIONS, "test_the_pre_call_webhook_is_asked_first_and_its_answer_is_a_variable")],
    "during-call action": [(SECTIONS, "test_the_transfer_waits_for_the_action_and_its_variables_are_there")],
    "flow variable": [(SECTIONS, "test_the_transfer_waits_for_the_action_and_its_variables_are_there")],
    "system": [(SECTIONS, "test_the_transfer_waits_for_the_action_and_its_variables_are_there")],
    "missing variable": [
        (SECTIONS, "test_the_transfer_waits_for_the_action_and_its_variables_are_there"),
        ("calls/test_preparing", "test_a_header_that_must_be_there_fails_the_transfer_and_not_the_call")],
    "extractors": [(SECTIONS, "test_the_example_with_two_extractors_arrives"),
                   ("calls/test_preparing", "test_row_3_late_answers_delay_nothing_and_change_nothing"),
                   ("calls/test_preparing", "test_it_waits_for_requests_and_extractors_asked_at_once"),
                   ("calls/test_preparing", "test_extractors_without_a_model_take_their_fallbacks"),
                   ("services/test_model", "test_all_questions_are_asked_at_once_and_each_has_its_own_deadline"),
                   ("services/test_model", "test_a_slow_model_is_given_up_before_the_deadline"),
                   ("services/test_model", "test_a_model_that_obeys_the_caller_gives_a_plain_value_at_most"),
                   ("services/test_model", "test_text_is_cut_at_a_character"),
                   (PLACES, "test_an_answer_that_was_not_folded_or_cut_never_leaves")],
    "places": [(SECTIONS, "test_headers_go_where_the_peer_of_a_refer_reads_them"),
               (PLACES, "test_on_the_invite_packed"), (PLACES, "test_user_to_user_as_a_refer_to_uri_header")],
}
SECTION_5 = {
    "method": [(BLIND, "test_the_refer_goes_out_in_the_callers_dialog"),
               (WARM, "test_it_is_a_call_of_its_own_with_the_callers_codecs")],
    "who handles the new connection": [(SECTIONS, "test_the_target_is_the_callers_servers_business_entirely")],
    "caller ID": [(WARM, "test_caller_id")],
    "needs": [(BLIND, "test_a_server_that_takes_no_refer_is_known_beforehand"),
              ("policy/test_actions", "test_blind_needs_a_peer_that_takes_refer")],
    "before the bridge": [(WARM, "test_it_is_prepared_while_the_target_rings_and_played_when_it_answers"),
                          (WARM, "test_accept_and_decline_by_key")],
    "unreachable": [(SECTIONS, "test_unreachable_no_answer_and_refusals_end_the_call"),
                    (WARM, "test_a_target_that_nobody_reaches")],
    "no answer": [(SECTIONS, "test_unreachable_no_answer_and_refusals_end_the_call"),
                  (SECTIONS, "test_no_answer_within_the_timeout_leaves_the_agents_call")],
    "4xx/5xx/6xx": [(SECTIONS, "test_unreachable_no_answer_and_refusals_end_the_call"),
                    (SECTIONS, "test_the_agent_may_retry_after_each_failure")],
    # Beyond the defaults, by choice; who acts.
    "a net": [(FAILURES, "test_end"), (FAILURES, "test_return"), (FAILURES, "test_bridge"), (FAILURES, "test_next"),
              (WARM, "test_a_refused_refer_is_tried_by_invite")],
    "hold audio": [("calls/test_hold", "test_the_caller_hears_it_and_nobody_hears_the_caller"),
                   ("calls/test_hold", "test_after_a_failure_both_hear_each_other_again")],
    "three-way": [("policy/test_actions", "test_three_way_is_for_later")],
    "a list of targets": [(WARM, "test_no_answer_within_the_timeout_goes_on_to_the_next"),
                          (BLIND, "test_the_next_target_of_a_list")],
    "REFER run by the edge": [(REFER, "test_202_comes_at_once_and_the_notifys_tell_the_outcome"),
                              ("scenarios/test_warm", "test_a_warm_transfer_that_completes")],
    "a mode that cannot work": [("policy/test_actions", "test_warm_and_bridge_need_the_audio"),
                                ("policy/test_actions", "test_nothing_is_handed_over_without_a_controlled_call"),
                                (WARM, "test_warm_is_refused_where_the_media_passes")],
    "passed through": [(REFER, "test_the_far_ends_status_is_relayed_and_its_notifys"),
                       (REFER, "test_a_refusal_comes_back_as_it_is")],
    "on a forwarded call": [("policy/test_transfers", "test_on_a_forwarded_call_it_is_refused"),
                            (FORWARDED, "test_a_refer_without_a_rule_gets_603")],
}
SECTION_7 = {
    1: [(REFER, "test_row_1_a_202_is_not_success"), (LEG, "test_accepted_and_completed_are_told_apart_row_1")],
    2: [(REFER, "test_row_2_silence_after_202_is_unknown"), (LEG, "test_202_and_then_nothing_is_unknown_row_2")],
    3: [(WARM, "test_row_3_one_deadline_for_all_targets"),
        ("calls/test_preparing", "test_row_3_the_deadline_of_the_transfer_ends_it_wherever_it_is")],
    4: [(REFER, "test_row_4_the_referrers_bye_right_after_202")],
    5: [(SECTIONS, "test_row_5_the_agents_bye_waits_for_the_answer_to_the_final_notify"),
        (LEG, "test_bye_only_after_the_final_notify_was_answered_row_5")],
    6: [(REFER, "test_row_6_a_notify_before_the_answer_to_the_refer"),
        (SECTIONS, "test_row_6_any_2xx_to_refer_is_accepted"), (FORWARDED, "test_any_2xx_is_accepted"),
        (REFER, "test_row_6_the_referees_bye_without_a_final_notify_is_unknown"),
        (REFER, "test_rows_2_6_and_19_the_final_notify_behind_the_bye_that_was_sent_after_it"),
        (LEG, "test_a_late_notify_is_200_for_a_while_and_an_unknown_one_481_row_6")],
    7: [(REFER, "test_row_7_no_rule_is_603_and_a_loop_is_refused"),
        (TARGETS, "test_a_target_that_is_the_edge_is_detected")],
    8: [(REFER, "test_row_8_a_full_uri_stays_untouched"), (TARGETS, "test_stay_untouched")],
    9: [(REFER, "test_row_9_two_record_routes"), (WAYS, "test_record_routes_of_several_hops_are_followed_row_9")],
    10: [(REFER, "test_row_10_context_headers_arrive_and_internal_ones_do_not"), (PLACES, "test_do_not_leak")],
    11: [(SECTIONS, "test_row_11_escapes_stay_as_they_are_exactly_once"),
         (TARGETS, "test_a_header_inside_refer_to_survives_there_and_back")],
    12: [(SECTIONS, "test_row_12_an_oversize_request_changes_nothing_for_later_ones"),
         (SIZE, "test_an_oversize_invite_goes_by_tcp_alone"),
         (SIZE, "test_without_a_connection_it_goes_by_the_next_step"),
         ("stack/test_tcp_step", "test_an_oversize_request_goes_by_tcp_with_a_tcp_via_and_others_do_not"),
         ("stack/test_tcp_step", "test_without_a_connection_the_next_step_is_a_new_transaction")],
    13: [(REFER, "test_row_13_odd_headers_and_methods_are_answered")],
    14: [(WARM, "test_row_14_a_repeated_attempt_has_a_fresh_call_id_and_tag"),
         (WAYS, "test_the_next_address_is_tried_as_a_call_of_its_own_row_14")],
    15: [(CHALLENGES, "test_invite"), (CHALLENGES, "test_reinvite"), (CHALLENGES, "test_refer"),
         (INSIDE, "test_a_challenged_invite_is_repeated_in_the_same_dialog_row_15"),
         (INSIDE, "test_challenges_inside_the_dialog_row_15")],
    16: [(WARM, "test_row_16_the_caller_while_the_target_rings"), (WARM, "test_row_16_cancel_against_a_200_in_flight")],
    17: [("calls/test_anchored", "test_row_17_an_end_that_sends_nothing_is_told"),
         (SECTIONS, "test_row_17_the_version_of_o_rises_with_each_change"),
         (WARM, "test_different_codecs_are_mended_by_one_re_invite"),
         (WARM, "test_g711_of_two_laws_is_converted_where_the_action_allows_it")],
    18: [(WARM, "test_row_18_the_status_arrives_unchanged_and_the_agents_call_was_never_touched"),
         ("calls/test_plain", "test_row_18_a_failure_arrives_unchanged"),
         ("stack/test_failover", "test_the_last_503_becomes_500")],
    19: [(SECTIONS, "test_row_19_what_comes_in_order_leaves_in_order")],
    20: [(REFER, "test_row_20_an_unknown_dialog_in_replaces_passes_unchanged"),
         (REFER, "test_row_20_a_dialog_of_ours_in_replaces_becomes_what_the_target_knows"),
         ("calls/test_attended", "test_the_far_ends_are_joined_and_the_agent_is_out")],
}
ROWS = [(f"{number}: {row}", module, name)
        for number, rows in ((2, SECTION_2), (3, SECTION_3), (5, SECTION_5), (7, SECTION_7))
        for row, named in rows.items() for module, name in named]


@pytest.mark.parametrize("module", sorted({module for _, module, _ in ROWS}))
def test_the_tests_of_all_rows_are_there(module):
    there = set(re.findall(r"^ *def (test_\w+)\(", (HERE / f"{module}.py").read_text(), re.MULTILINE))
    assert {(row, name) for row, of, name in ROWS if of == module and name not in there} == set()


def test_every_row_of_section_7_has_one():
    assert list(SECTION_7) == list(range(1, 21))
    assert all(rows for table in (SECTION_2, SECTION_3, SECTION_5, SECTION_7) for rows in table.values())
