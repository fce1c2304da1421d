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
        }
    };
}
