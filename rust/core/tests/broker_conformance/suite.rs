//! The list of behaviours; each becomes one test of each broker.

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

/// Runs the suite for a broker: `conformance!(MyFixture);` inside the module of the fixture.
macro_rules! conformance {
    ($fixture:ty) => {
        behaviours! { $fixture;
            delivering {
                messages_arrive_in_the_order_they_were_published
                headers_properties_and_body_arrive_unchanged
                a_body_of_five_mebibytes_arrives_whole
                an_empty_body_arrives
                messages_arrive_in_the_order_of_their_priorities
                several_queues_are_served_in_turn
                a_batch_is_no_larger_than_the_room
                the_prefetch_bounds_what_is_unsettled
                what_waits_for_its_eta_does_not_hold_up_the_rest
                settling_makes_room_for_a_waiting_reserve
                two_consumers_share_without_doubles
                an_empty_queue_yields_nothing_at_the_deadline
                an_interrupt_ends_a_wait
                a_waiting_consumer_wakes_at_once_for_a_message
            }
            delaying {
                what_is_delayed_comes_when_it_is_due_and_not_before
                what_is_delayed_holds_up_nothing
                a_moment_in_the_past_delivers_at_once
                what_is_delayed_comes_back_to_its_own_queue
                what_is_delayed_outlives_who_delayed_it
                what_a_killed_consumer_delayed_comes_once
                a_purge_leaves_what_is_delayed
                a_waiting_consumer_wakes_for_what_another_delays
            }
            mailing {
                an_order_reaches_every_mailbox_that_listens
                an_answer_reaches_its_key_alone
                a_closed_mailbox_gets_nothing_and_its_name_is_free
                events_reach_who_listens_for_their_kind_in_their_order
                an_event_that_nobody_listens_for_is_no_error
            }
            settling {
                an_acked_message_is_gone
                a_rejected_message_is_gone
                a_requeued_message_comes_back_in_front_and_redelivered
                what_is_reserved_with_its_own_hand_back_is_held
                what_is_handed_back_while_another_thread_reserves_is_held
                what_is_set_aside_keeps_message_and_reason
                what_is_set_aside_can_be_put_back
                a_purge_leaves_what_is_set_aside
                settling_twice_changes_nothing
                an_old_token_does_not_settle_anothers_lease
                an_old_token_does_not_settle_a_later_message
            }
            losing {
                a_lost_process_is_counted_and_the_message_stays_as_it_was
                what_is_handed_back_in_order_is_no_loss
                a_killed_consumer_is_counted
                what_is_set_aside_tells_its_history_and_begins_anew
                what_is_set_aside_can_be_dropped
            }
            surviving {
                closing_hands_unsettled_messages_back_in_front
                the_messages_of_a_killed_consumer_come_back
                a_lease_is_renewed_while_its_consumer_lives
            }
            routing {
                the_default_exchange_routes_to_the_queue_that_the_key_names
                a_direct_exchange_routes_by_equal_keys
                a_message_reaches_every_queue_that_is_bound
                a_topic_exchange_routes_by_patterns
                a_queue_gets_what_comes_through_each_of_its_bindings
                a_queue_may_be_bound_to_a_fanout_exchange_beside_another
                a_broadcast_reaches_every_consumer_once
                a_broadcast_is_handed_back_to_its_own_consumer
                a_broadcast_ends_with_its_consumer
                what_no_queue_wants_is_dropped_unless_it_is_mandatory
                declaring_twice_binds_once
                an_added_queue_is_consumed
                a_cancelled_queue_is_left_alone
                purge_empties_one_queue_and_counts
            }
            publishing {
                every_receipt_is_told_exactly_once
                many_threads_publish_at_once
                close_sends_what_is_queued
                a_message_after_close_fails_its_receipt
            }
        }
    };
}

/// The behaviours of brokers that are result stores, too.
macro_rules! conformance_of_stores {
    ($fixture:ty) => {
        behaviours! { $fixture;
            storing {
                a_put_is_stored_with_its_ack
                a_put_with_an_ack_wakes_who_waits
            }
        }
    };
}
