//! The list of behaviours; each becomes one test of each store.

macro_rules! behaviours {
    ($fixture:ty; $($theme:ident { $($name:ident)* })*) => {
        $(mod $theme {
            use super::*;
            $(
                #[test]
                fn $name() {
                    crate::$theme::$name::<$fixture>();
                }
            )*
        })*
    };
}

/// Runs the suite for a store: `conformance!(MyFixture);` inside the module of the fixture.
macro_rules! conformance {
    ($fixture:ty) => {
        behaviours! { $fixture;
            documents {
                a_document_is_read_as_it_was_stored
                a_later_document_replaces_an_earlier_one
                a_success_is_never_overwritten
                many_documents_come_in_the_order_of_their_ids
                a_forgotten_document_is_gone
                a_document_expires
                a_document_without_expiry_stays
                cleanup_keeps_what_lives
                a_big_binary_document_is_read_whole
            }
            waiting {
                a_subscriber_gets_the_current_document_first
                a_subscriber_that_was_announced_gets_no_earlier_document
                a_subscriber_gets_every_document_in_order
                a_subscriber_gets_what_another_process_stores_in_order
                a_waiting_subscriber_wakes_without_a_poll
                a_subscriber_hears_nothing_of_other_results
                two_subscribers_both_hear
                an_unanswered_wait_ends_at_its_deadline
                a_refused_overwrite_is_not_announced
                a_thousand_subscribers_on_many_threads_all_hear
                a_subscription_ends_when_it_is_dropped
            }
            raw {
                a_raw_value_is_stored_read_and_deleted
                raw_values_and_documents_are_apart
                a_raw_value_expires
            }
            chords {
                a_chord_is_complete_with_its_last_part
                parts_come_back_by_position
                parts_come_back_as_they_came_where_order_is_not_asked_for
                a_part_that_returns_again_is_counted_once
                a_chord_of_unknown_size_stays_open
                a_part_before_the_size_is_counted
                only_one_of_many_threads_gets_the_claim
                a_claim_that_ran_out_is_given_to_the_next_return
                a_claim_can_be_renewed_by_its_owner_only
                a_closed_chord_does_nothing_more
                only_the_owner_of_the_claim_closes_a_chord
                an_added_part_is_waited_for
                a_failed_chord_does_nothing_more
                a_group_id_that_is_used_again_starts_anew
            }
        }
    };
}
