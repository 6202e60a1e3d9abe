//! The gauges of the slots. They never count by themselves: they are set at each scrape.

use crate::metrics::{Gauge, Maker};

/// The load of the slots at the moment of a scrape.
#[derive(Debug)]
pub(super) struct SlotGauges {
    pub(super) most: Gauge,
    pub(super) in_use: Gauge,
    pub(super) waiting: Gauge,
    pub(super) warm: Gauge,
}

impl SlotGauges {
    pub(super) fn new(make: &mut Maker) -> Self {
        Self {
            most: make.gauge(
                "slots",
                "Connections to noded allowed at a time (max_clients)",
            ),
            in_use: make.gauge(
                "slots_in_use",
                "Slots taken: running RPCs and warm connections",
            ),
            waiting: make.gauge("queue_length", "RPCs that wait for a slot"),
            warm: make.gauge(
                "warm_connections",
                "Connections to noded opened in advance that wait to be used",
            ),
        }
    }
}
