//! Deliveries, due timers and children's reports, handed out in batches.
