//! How many bytes of content the messages of a restore bring, for the figures of the stages.

use super::messages::{RangeFetched, RangePlan, WriteTask};
use crate::flow::Weigh;

impl Weigh for RangePlan {
    fn weight(&self) -> u64 {
        self.range.end - self.range.start
    }
}

impl Weigh for RangeFetched {
    fn weight(&self) -> u64 {
        self.bytes.len() as u64
    }
}

impl Weigh for WriteTask {
    fn weight(&self) -> u64 {
        match self {
            Self::Chunks { raw, .. } => raw.len() as u64,
            Self::Planned(_) | Self::Left(_) => 0,
        }
    }
}
