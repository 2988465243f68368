"""What every store answers to a row of transfers, by the behaviour's name; the language is that of scenario.py."""

from __future__ import annotations

from charging.ledger.model import AMOUNT_MAX

SCENARIOS = {
    "a_reservation_lowers_available_and_a_settlement_gives_the_rest_back": """
        t1 top_up credit=+100                      -> created credit 100/0
        r1 reserve s1:open credit=/60              -> created credit 100/60
        x1 extend s1:keep credit=-40/+0            -> created credit 60/60
        x2 extend s1:keep credit=-40/-40           -> created credit 20/20
        e1 settle s1:close+cdr credit=-5/-20       -> created credit 15/0
    """,
    "a_release_gives_everything_back": """
        t1 top_up credit=+100                      -> created credit 100/0
        r1 reserve s1:open credit=/60              -> created credit 100/60
        v1 release s1:close credit=/-60            -> created credit 100/0
    """,
    "what_is_charged_at_once_opens_and_closes_its_session_in_one_transfer": """
        t1 top_up credit=+100                      -> created credit 100/0
        m1 charge m:once credit=-30                -> created credit 70/0
        m1 charge m:once credit=-30                -> exists credit 70/0
        m1 charge m:once credit=-40                -> differs credit 70/0
        m2 charge m:once credit=-30                -> session_exists credit 70/0     # it has left its CDR
        r1 reserve m:open credit=/10               -> session_exists credit 70/0
        e1 settle m:close credit=-1                -> session_not_open credit 70/0
        m3 charge n:once credit=-71                -> insufficient credit 70/0
        r2 reserve o:open credit=/60               -> created credit 70/60
        m4 charge o:once credit=-1                 -> session_exists credit 70/60
        m5 charge n:once credit=-10/+1             -> exceeds_reservation credit 70/60
        m6 charge n:once credit=-10                -> created credit 60/60
    """,
    "the_last_cent_can_be_reserved_and_no_more": """
        t1 top_up credit=+100                      -> created credit 100/0
        r1 reserve s1:open credit=/101             -> insufficient credit 100/0
        r2 reserve s2:open credit=/100             -> created credit 100/100
        r3 reserve s3:open credit=/1               -> insufficient credit 100/100
        r4 reserve s4:open                         -> created credit 100/100
    """,
    "a_repeated_id_answers_exists_and_changes_nothing": """
        t1 top_up credit=+100                      -> created credit 100/0
        t1 top_up credit=+100                      -> exists credit 100/0
        r1 reserve s1:open credit=/60              -> created credit 100/60
        r1 reserve s1:open credit=/60              -> exists credit 100/60
        e1 settle s1:close credit=-60/-60          -> created credit 40/0
        r1 reserve s1:open credit=/60              -> exists credit 40/0      # long after its session closed
        e1 settle s1:close credit=-60/-60          -> exists credit 40/0
    """,
    "a_repeated_id_with_other_contents_answers_differs": """
        t1 top_up credit=+100                      -> created credit 100/0
        t1 top_up credit=+101                      -> differs credit 100/0
        t1 correct credit=+100                     -> differs credit 100/0
        t1 top_up bundle:2026-11=+100              -> differs credit 100/0 bundle:2026-11 0/0
        t1 top_up s1:open credit=+100              -> differs credit 100/0
    """,
    "an_exists_comes_before_any_refusal": """
        t1 top_up credit=+100                      -> created credit 100/0
        r1 reserve s1:open credit=/100             -> created credit 100/100
        r1 reserve s1:open credit=/100@90          -> exists credit 100/100   # the floor is not part of the contents
    """,
    "a_refusal_leaves_no_trace_of_its_id": """
        r1 reserve s1:open credit=/60              -> insufficient credit 0/0
        t1 top_up credit=+50                       -> created credit 50/0
        r1 reserve s1:open credit=/50              -> created credit 50/50
    """,
    "legs_are_all_or_nothing": """
        t1 top_up credit=+100                      -> created credit 100/0
        g1 grant bundle:2026-11=+30                -> created bundle:2026-11 30/0
        r1 reserve s1:open bundle:2026-11=/30 credit=/101 -> insufficient credit 100/0 bundle:2026-11 30/0
        r2 reserve s1:open bundle:2026-11=/30 credit=/100 -> created credit 100/100 bundle:2026-11 30/30
    """,
    "the_floor_is_the_last_available_that_is_allowed": """
        d1 reserve s1:open day:2026-11-21=/500@-500 -> created day:2026-11-21 0/500
        d2 reserve s2:open day:2026-11-21=/1@-500  -> insufficient day:2026-11-21 0/500
        c1 reserve s3:open calls=/1@-2             -> created calls 0/1
        c2 reserve s4:open calls=/1@-2             -> created calls 0/2
        c3 reserve s5:open calls=/1@-2             -> insufficient calls 0/2
    """,
    "a_message_needs_credit_and_room_of_the_day_both_or_neither": """
        t1 top_up credit=+300                      -> created credit 300/0
        m1 reserve s1:open credit=/100 day:2026-11-21=/100@-150 -> created credit 300/100 day:2026-11-21 0/100
        m2 reserve s2:open credit=/100 day:2026-11-21=/100@-150 -> insufficient credit 300/100 day:2026-11-21 0/100
        e1 settle s1:close credit=-100/-100 day:2026-11-21=-100/-100@-150 -> created credit 200/0 day:2026-11-21 -100/0
        m3 reserve s2:open credit=/51 day:2026-11-21=/51@-150 -> insufficient credit 200/0 day:2026-11-21 -100/0
        m4 reserve s2:open credit=/50 day:2026-11-21=/50@-150 -> created credit 200/50 day:2026-11-21 -100/50
        f1 charge s3:open credit=-1 day:2026-11-21=-1@-150 -> insufficient credit 200/50 day:2026-11-21 -100/50
    """,
    "what_only_counts_is_bounded_as_it_begins_and_booked_whatever_it_was": """
        f1 reserve s1:open unpaid:1=/300@-600      -> created unpaid:1 0/300
        f2 reserve s2:open unpaid:1=/300@-600      -> created unpaid:1 0/600
        f3 reserve s3:open unpaid:1=/300@-600      -> insufficient unpaid:1 0/600
        e1 release s1:close unpaid:1=-900/-300@-9007199254740991 -> created unpaid:1 -900/300
        e2 settle s2:close unpaid:1=/-300@-600     -> created unpaid:1 -900/0
        f4 reserve s4:open unpaid:1=/1@-900        -> insufficient unpaid:1 -900/0
    """,
    "a_leg_that_raises_available_is_never_refused": """
        d1 correct credit=-50@-50                  -> created credit -50/0
        t1 top_up credit=+10                       -> created credit -40/0
        t2 correct credit=-1@-40                   -> insufficient credit -40/0
        t3 correct credit=-0                       -> created credit -40/0
    """,
    "a_charge_beyond_the_reservation_needs_money": """
        t1 top_up credit=+100                      -> created credit 100/0
        r1 reserve s1:open credit=/60              -> created credit 100/60
        r2 reserve s2:open credit=/40              -> created credit 100/100
        e1 settle s1:close credit=-61/-60          -> insufficient credit 100/100
        e2 settle s1:close credit=-60/-60          -> created credit 40/40
    """,
    "a_session_gives_back_only_what_it_holds_itself": """
        t1 top_up credit=+100                      -> created credit 100/0
        r1 reserve s1:open credit=/60              -> created credit 100/60
        r2 reserve s2:open credit=/40              -> created credit 100/100
        k1 extend s2:keep credit=/-41              -> exceeds_reservation credit 100/100
        k2 extend s2:keep bundle:2026-11=/-1       -> exceeds_reservation credit 100/100
        k3 extend s2:keep credit=/-40              -> created credit 100/60
        k4 extend s2:keep credit=/-1               -> exceeds_reservation credit 100/60
    """,
    "a_session_closes_only_when_it_holds_nothing": """
        t1 top_up credit=+100                      -> created credit 100/0
        r1 reserve s1:open credit=/60 calls=/1@-2  -> created credit 100/60 calls 0/1
        e1 settle s1:close credit=-60/-60          -> exceeds_reservation credit 100/60
        e2 settle s1:close credit=-59/-59 calls=/-1 -> exceeds_reservation credit 100/60
        e3 settle s1:close credit=-60/-60 calls=/-1 -> created credit 40/0 calls 0/0
    """,
    "a_session_must_be_open_to_be_changed": """
        t1 top_up credit=+100                      -> created credit 100/0
        k1 extend s1:keep credit=/10               -> session_not_open credit 100/0
        e1 settle s1:close                         -> session_not_open credit 100/0
        r1 reserve s1:open credit=/60              -> created credit 100/60
        r2 reserve s1:open credit=/1               -> session_exists credit 100/60
        e2 settle s1:close credit=/-60             -> created credit 100/0
        k2 extend s1:keep credit=/10               -> session_not_open credit 100/0
    """,
    "a_session_without_a_cdr_may_open_again_and_one_with_a_cdr_may_not": """
        t1 top_up credit=+100                      -> created credit 100/0
        r1 reserve s1:open credit=/60              -> created credit 100/60
        e1 release s1:close credit=/-60            -> created credit 100/0
        r2 reserve s1:open credit=/60              -> created credit 100/60
        e2 settle s1:close+cdr credit=-60/-60      -> created credit 40/0
        r3 reserve s1:open credit=/10              -> session_exists credit 40/0
    """,
    "an_older_epoch_is_fenced_and_a_newer_one_taken_over": """
        t1 top_up credit=+100                      -> created credit 100/0
        r1 reserve s1:open:3 credit=/60            -> created credit 100/60
        k1 extend s1:keep:2 credit=/1              -> fenced credit 100/60
        k2 extend s1:keep:3 credit=/1              -> created credit 100/61
        k3 extend s1:keep:4 credit=/1              -> created credit 100/62
        k4 extend s1:keep:3 credit=/1              -> fenced credit 100/62
        e1 settle s1:close:3 credit=/-62           -> fenced credit 100/62
        e2 settle s1:close:4 credit=/-62           -> created credit 100/0
    """,
    "a_change_that_does_not_follow_the_session_s_last_transfer_is_refused": """
        t1 top_up credit=+100                      -> created credit 100/0
        r1 reserve s1:open:0 credit=/10            -> created credit 100/10
        k1 extend s1:keep:0:0 credit=/1            -> out_of_sequence credit 100/10
        k2 extend s1:keep:0:2 credit=/1            -> out_of_sequence credit 100/10
        k3 extend s1:keep:0:1 credit=/1            -> created credit 100/11
        k3 extend s1:keep:0:1 credit=/1            -> exists credit 100/11
        k4 extend s1:keep:0:1 credit=/1            -> out_of_sequence credit 100/11
        e1 settle s1:close:0:1 credit=/-11         -> out_of_sequence credit 100/11
        e2 settle s1:close:0:3 credit=/-11         -> out_of_sequence credit 100/11
        e3 settle s1:close:0:2 credit=/-11         -> created credit 100/0
    """,
    "fences_come_before_sequence_and_sequence_before_holds": """
        r1 reserve s1:open:2                       -> created credit 0/0
        k1 extend s1:keep:1:7 credit=/10           -> fenced credit 0/0
        k2 extend s1:keep:2:7 calls=/-1            -> out_of_sequence credit 0/0
        k3 extend s1:keep:3:1 calls=/-1            -> exceeds_reservation credit 0/0
    """,
    "a_grant_comes_with_its_first_use_and_once": """
        r1 reserve s1:open bundle:2026-11=/60 after b/2026-11 bundle:2026-11=+100 -> created bundle:2026-11 100/60
        r2 reserve s2:open bundle:2026-11=/40 after b/2026-11 bundle:2026-11=+100 -> created bundle:2026-11 100/100
        r3 reserve s3:open bundle:2026-11=/1 after b/2026-11 bundle:2026-11=+100 -> insufficient bundle:2026-11 100/100
    """,
    "a_grant_that_exists_is_skipped_whatever_its_contents": """
        r1 reserve s1:open bundle:2026-11=/60 after b/2026-11 bundle:2026-11=+100 -> created bundle:2026-11 100/60
        r2 reserve s2:open bundle:2026-11=/60 after b/2026-11 bundle:2026-11=+200 -> insufficient bundle:2026-11 100/60
    """,
    "a_grant_is_not_made_when_its_transfer_is_refused_or_exists": """
        r1 reserve s1:open bundle:2026-11=/101 after b/2026-11 bundle:2026-11=+100 -> insufficient bundle:2026-11 0/0
        t1 top_up credit=+100                                         -> created credit 100/0
        t1 top_up credit=+100 after b/2026-11 bundle:2026-11=+100 -> exists credit 100/0 bundle:2026-11 0/0
        g1 grant bundle:2026-11=+5                                                    -> created bundle:2026-11 5/0
    """,
    "a_refused_grant_refuses_its_transfer": """
        t1 top_up credit=+100                                          -> created credit 100/0
        r1 reserve s1:open credit=/1 after g1 bundle:2026-11=-1        -> insufficient credit 100/0 bundle:2026-11 0/0
        r1 reserve s1:open credit=/1 after g1 bundle:2026-11=+1        -> created credit 100/1 bundle:2026-11 1/0
    """,
    "fences_and_holds_are_looked_at_before_money": """
        r1 reserve s1:open:2                       -> created credit 0/0
        k1 extend s1:keep:1 credit=/10 calls=/-1   -> fenced credit 0/0
        k2 extend s1:keep:2 credit=/10 calls=/-1   -> exceeds_reservation credit 0/0
        k3 extend s1:keep:2 credit=/10             -> insufficient credit 0/0
    """,
    "no_balance_passes_the_limit_of_amounts": f"""
        t1 top_up credit=+{AMOUNT_MAX - 1}         -> created credit {AMOUNT_MAX - 1}/0
        t2 top_up credit=+2                        -> exceeds_limit credit {AMOUNT_MAX - 1}/0
        t3 top_up credit=+1                        -> created credit {AMOUNT_MAX}/0
        r1 reserve s1:open credit=/{AMOUNT_MAX}    -> created credit {AMOUNT_MAX}/{AMOUNT_MAX}
        r2 reserve s2:open credit=/1@-{AMOUNT_MAX} -> exceeds_limit credit {AMOUNT_MAX}/{AMOUNT_MAX}
    """,
    "no_debt_passes_the_limit_of_amounts": f"""
        r1 reserve s1:open credit=/1@-1                              -> created credit 0/1
        c1 correct credit=-{AMOUNT_MAX}@-{AMOUNT_MAX}                -> exceeds_limit credit 0/1
        c2 correct credit=-{AMOUNT_MAX - 1}@-{AMOUNT_MAX}            -> created credit -{AMOUNT_MAX - 1}/1
        r2 reserve s2:open credit=/1@-{AMOUNT_MAX}                   -> exceeds_limit credit -{AMOUNT_MAX - 1}/1
        e1 release s1:close credit=/-1                               -> created credit -{AMOUNT_MAX - 1}/0
        c3 correct credit=-1@-{AMOUNT_MAX}                           -> created credit -{AMOUNT_MAX}/0
        c4 correct credit=-1@-{AMOUNT_MAX}                           -> exceeds_limit credit -{AMOUNT_MAX}/0
        t1 top_up credit=+{AMOUNT_MAX}                               -> created credit 0/0
    """,
}
