//! The calls of a simulated store, as their callers see them: futures that end when the world says so.

use std::fmt;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult,
};

use super::{Answer, Fate, Open, Request, SimWorld, Stored};

/// A call, as its caller sees it.
pub(super) struct Call {
    pub(super) world: SimWorld,
    pub(super) request: Option<Request>,
    pub(super) id: Option<u64>,
}

impl Future for Call {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer> {
        let request = self.request.take();
        let world = self.world.clone();
        let mut inner = world.inner();
        if let Some(request) = request {
            let (id, fate) = (inner.next, inner.fate(&request));
            inner.next += 1;
            // Some calls take much longer than others.
            let slow = if inner.dice.once_in(40) { 300 } else { 1 };
            let not_before = inner.steps + inner.dice.below(slow) as u64;
            let open = Open {
                request,
                fate,
                not_before,
                answer: None,
                is_answered: false,
                waker: context.waker().clone(),
            };
            inner.open.insert(id, open);
            self.id = Some(id);
        }
        let id = self.id.expect("it was issued");
        let open = inner.open.get_mut(&id).expect("it is open");
        if !open.is_answered {
            open.waker.clone_from(context.waker());
            return Poll::Pending;
        }
        let open = inner.open.remove(&id).expect("it is open");
        self.id = None;
        Poll::Ready(open.answer.expect("it is answered"))
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let Some(id) = self.id else { return };
        let mut inner = self.world.inner();
        let Some(open) = inner.open.remove(&id) else { return };
        // What was sent may arrive although nobody waits for it.
        if open.answer.is_none() && open.request.changes_something() && inner.one_in > 0 && inner.dice.once_in(2) {
            inner.fire(Fate::CallerGone);
            inner.late.push_back(open.request);
        }
    }
}

impl fmt::Display for SimWorld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimWorld")
    }
}

/// Takes the answer of the right kind.
macro_rules! answer {
    ($world:expr, $kind:ident, $request:expr) => {
        match $world.call($request).await {
            Answer::$kind(answer) => answer,
            other => unreachable!("{other:?}"),
        }
    };
}

#[async_trait]
impl ObjectStore for SimWorld {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Stored<PutResult> {
        answer!(self, Put, Request::Put(location.clone(), payload, opts))
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Stored<Box<dyn MultipartUpload>> {
        Err(object_store::Error::NotImplemented {
            operation: "multipart".to_owned(),
            implementer: "SimWorld".to_owned(),
        })
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Stored<GetResult> {
        answer!(self, Get, Request::Get(location.clone(), options))
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Stored<Vec<Bytes>> {
        answer!(self, Ranges, Request::Ranges(location.clone(), ranges.to_vec()))
    }

    fn delete_stream(&self, locations: BoxStream<'static, Stored<Path>>) -> BoxStream<'static, Stored<Path>> {
        let world = self.clone();
        let delete = move |location: Stored<Path>| {
            let world = world.clone();
            async move {
                let location = location?;
                answer!(world, Deleted, Request::Delete(location.clone()))?;
                Ok(location)
            }
        };
        locations.map(delete).buffered(4).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Stored<ObjectMeta>> {
        let call = self.call(Request::List(prefix.cloned()));
        let answers = call.map(|answer| match answer {
            Answer::Listed(listed, end) => {
                let listed = listed.into_iter().map(Ok).chain(end.err().map(Err));
                futures::stream::iter(listed.collect::<Vec<_>>())
            }
            other => unreachable!("{other:?}"),
        });
        answers.flatten_stream().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Stored<ListResult> {
        answer!(self, Folders, Request::Folders(prefix.cloned()))
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Stored<()> {
        Err(object_store::Error::NotImplemented {
            operation: "copy".to_owned(),
            implementer: "SimWorld".to_owned(),
        })
    }
}
