//! A listing that breaks off goes on after the last name it gave, if the store lists in order. Otherwise it begins
//! again, but only if it has given out nothing yet. A store that lists out of order is believed, too, as long as the
//! listing does not break off.

use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{ObjectMeta, Result};

use super::{Attempts, Retry};
use crate::store::fault::{WireFault, WireKind};
use crate::store::observe::Verb;

/// A listing that continues after it breaks off.
pub(super) struct Listing {
    retry: Retry,
    prefix: Option<Path>,
    /// Only names after this one are wanted: the caller's offset, or the last name given out before the last break.
    behind: Option<Path>,
    /// The last name that was given out.
    last: Option<Path>,
    /// Whether the listing broke off after it had given out names.
    resumed: bool,
    /// Whether the names come in order. A store that promises order can break the promise.
    ordered: bool,
    from: BoxStream<'static, Result<ObjectMeta>>,
    count: u32,
    spent: Duration,
    ended: bool,
}

impl Listing {
    pub(super) fn begin(retry: Retry, prefix: Option<Path>, behind: Option<Path>) -> Self {
        let from = retry.listed_from(prefix.as_ref(), behind.as_ref());
        Self {
            ordered: retry.rule.ordered,
            retry,
            prefix,
            behind,
            last: None,
            resumed: false,
            from,
            count: 0,
            spent: Duration::ZERO,
            ended: false,
        }
    }

    pub(super) fn stream(self) -> BoxStream<'static, Result<ObjectMeta>> {
        futures::stream::unfold(self, |mut listing| async move {
            let next = listing.next().await?;
            Some((next, listing))
        })
        .boxed()
    }

    async fn next(&mut self) -> Option<Result<ObjectMeta>> {
        let begun = Instant::now();
        while !self.ended {
            let error = match self.from.next().await {
                // Some stores cannot begin at a name and always list from the first.
                Some(Ok(meta)) if self.is_old(&meta.location) => continue,
                Some(Ok(meta)) => {
                    self.retry.answered();
                    (self.count, self.spent) = (0, Duration::ZERO);
                    if self.last.as_ref().is_some_and(|last| meta.location <= *last) {
                        self.ordered = false;
                        if self.resumed {
                            self.ended = true;
                            return Some(Err(out_of_order()));
                        }
                    }
                    self.last = Some(meta.location.clone());
                    return Some(Ok(meta));
                }
                Some(Err(error)) => error,
                None => {
                    self.ended = true;
                    return None;
                }
            };
            if let Err(error) = self.again(begun, error).await {
                self.ended = true;
                return Some(Err(error));
            }
        }
        None
    }

    fn is_old(&self, location: &Path) -> bool {
        self.behind.as_ref().is_some_and(|behind| location <= behind)
    }

    async fn again(&mut self, begun: Instant, error: object_store::Error) -> Result<()> {
        if self.last.is_some() && !self.ordered {
            return Err(error);
        }
        let mut attempts = Attempts {
            retry: &self.retry,
            verb: Verb::List,
            count: self.count + 1,
            spent: self.spent,
            begun,
            waits: false,
        };
        let at = self.prefix.clone().unwrap_or_default();
        attempts.pause(&at, error).await?;
        (self.count, self.spent) = (attempts.count, attempts.spent);
        if self.last.is_some() {
            (self.resumed, self.behind) = (true, self.last.clone());
        }
        self.from = self.retry.listed_from(self.prefix.as_ref(), self.behind.as_ref());
        Ok(())
    }
}

/// Nobody knows which names are missing from a listing that broke off and was out of order.
fn out_of_order() -> object_store::Error {
    let reason = "the store broke a listing off, and it does not list names in order";
    WireFault::new(WireKind::Other, reason).into_error()
}
