//! A store in memory of which a seed decides everything: when each call happens, when its answer comes, whether it
//! fails, and what arrives late, twice, or after its caller is gone. A simulation polls its machines, and lets the
//! world make one step whenever all of them wait. So one thread runs a whole history, and the same seed runs it again.

mod call;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    GetOptions, GetResult, ListResult, ObjectMeta, ObjectStore, ObjectStoreExt, PutOptions, PutPayload, PutResult,
};

use self::call::Call;
use super::seeded::Dice;
use crate::store::fault::WireFault;

type Stored<T> = object_store::Result<T>;

/// What became of a call, besides that it was done and answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// Nothing happened, and the caller is told so.
    Failed,
    /// It was done, but the answer was lost.
    AnswerLost,
    /// The caller is told that it failed, and it is done later.
    Delayed,
    /// It was done and answered, and is done again later.
    Twice,
    /// Its caller went away before it was done, and it is done later.
    CallerGone,
    /// A call of one of the last three kinds was done.
    CameLate,
    /// A listing ended in the middle.
    BrokeOff,
    /// A listing lacked the newest objects.
    OldListing,
}

/// All of them.
pub const FATES: [Fate; 8] = [
    Fate::Failed,
    Fate::AnswerLost,
    Fate::Delayed,
    Fate::Twice,
    Fate::CallerGone,
    Fate::CameLate,
    Fate::BrokeOff,
    Fate::OldListing,
];

#[derive(Debug, Clone)]
enum Request {
    Put(Path, PutPayload, PutOptions),
    Get(Path, GetOptions),
    Ranges(Path, Vec<Range<u64>>),
    Delete(Path),
    List(Option<Path>),
    Folders(Option<Path>),
    Pause,
}

impl Request {
    fn changes_something(&self) -> bool {
        matches!(self, Self::Put(..) | Self::Delete(_))
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put(path, ..) => write!(f, "put {path}"),
            Self::Get(path, _) | Self::Ranges(path, _) => write!(f, "get {path}"),
            Self::Delete(path) => write!(f, "delete {path}"),
            Self::List(prefix) | Self::Folders(prefix) => {
                write!(f, "list {}", prefix.as_ref().map_or("", |prefix| prefix.as_ref()))
            }
            Self::Pause => f.write_str("pause"),
        }
    }
}

#[derive(Debug)]
enum Answer {
    Put(Stored<PutResult>),
    Get(Stored<GetResult>),
    Ranges(Stored<Vec<Bytes>>),
    Deleted(Stored<()>),
    Listed(Vec<ObjectMeta>, Stored<()>),
    Folders(Stored<ListResult>),
    Awake,
}

/// A call whose caller waits.
#[derive(Debug)]
struct Open {
    request: Request,
    fate: Option<Fate>,
    /// What the caller will be told, from when it is done.
    answer: Option<Answer>,
    is_answered: bool,
    /// It is not done before so many steps of the world, unless nothing else is to be done.
    not_before: u64,
    waker: Waker,
}

struct Inner {
    objects: Arc<InMemory>,
    written: BTreeMap<Path, i64>,
    now_s: i64,
    open: BTreeMap<u64, Open>,
    late: VecDeque<Request>,
    next: u64,
    steps: u64,
    dice: Dice,
    /// One call in so many has another fate; 0: none has.
    one_in: usize,
    fired: BTreeMap<Fate, u64>,
    changed: bool,
    digest: u64,
    trace: Option<Vec<String>>,
}

/// The world of one history. Cheap to clone.
#[derive(Clone)]
pub struct SimWorld(Arc<Mutex<Inner>>);

impl fmt::Debug for SimWorld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimWorld")
    }
}

impl SimWorld {
    /// A world with these objects, whose clock shows that second. One call in `one_in` has another fate than to be done
    /// and answered; 0: none has.
    #[must_use]
    pub fn new(objects: InMemory, dice: Dice, one_in: usize, now_s: i64) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            objects: Arc::new(objects),
            written: BTreeMap::new(),
            now_s,
            open: BTreeMap::new(),
            late: VecDeque::new(),
            next: 0,
            steps: 0,
            dice,
            one_in,
            fired: BTreeMap::new(),
            changed: false,
            digest: 0xcbf2_9ce4_8422_2325,
            trace: None,
        })))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The objects, for a reader that nothing befalls.
    #[must_use]
    pub fn objects(&self) -> Arc<InMemory> {
        Arc::clone(&self.inner().objects)
    }

    /// Seconds since the epoch.
    #[must_use]
    pub fn now_s(&self) -> i64 {
        self.inner().now_s
    }

    /// Time passes.
    pub fn pass(&self, seconds: i64) {
        self.inner().now_s += seconds;
    }

    /// From now on nothing befalls a call.
    pub fn calm(&self) {
        self.inner().one_in = 0;
    }

    /// How often each fate befell a call.
    #[must_use]
    pub fn fired(&self) -> BTreeMap<Fate, u64> {
        self.inner().fired.clone()
    }

    /// A number that stands for everything that happened.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.inner().digest
    }

    /// From now on what happens is written down.
    pub fn trace(&self) {
        self.inner().trace = Some(Vec::new());
    }

    /// What was written down.
    #[must_use]
    pub fn traced(&self) -> Vec<String> {
        self.inner().trace.clone().unwrap_or_default()
    }

    /// Writes a line down.
    pub fn note(&self, line: &str) {
        self.inner().note(line);
    }

    /// Whether an object was written or deleted since it was last asked.
    #[must_use]
    pub fn take_changed(&self) -> bool {
        std::mem::take(&mut self.inner().changed)
    }

    /// One call is done or answered. False if none waits.
    pub fn step(&self) -> bool {
        let mut inner = self.inner();
        inner.steps += 1;
        let steps = inner.steps;
        let mut waiting: Vec<(u64, bool)> = inner
            .open
            .iter()
            .filter(|(_, open)| !open.is_answered)
            .map(|(id, open)| (*id, open.not_before <= steps))
            .collect();
        if waiting.iter().any(|(_, is_due)| *is_due) {
            waiting.retain(|(_, is_due)| *is_due);
        }
        if !inner.late.is_empty() && (waiting.is_empty() || inner.dice.once_in(8)) {
            inner.do_late();
            return true;
        }
        let Some((id, _)) = inner.dice.one_of(&waiting) else {
            return false;
        };
        let waker = inner.advance(id);
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    /// Everything that was delayed arrives.
    pub fn settle(&self) {
        let mut inner = self.inner();
        while !inner.late.is_empty() {
            inner.do_late();
        }
    }

    /// What decides about pauses: they end when the seed says so.
    #[must_use]
    pub fn pauses(&self) -> super::seeded::Pauses {
        let world = self.clone();
        Box::new(move |_: Duration| {
            let call = world.call(Request::Pause);
            Box::pin(async move {
                call.await;
            })
        })
    }

    fn call(&self, request: Request) -> BoxFuture<'static, Answer> {
        Box::pin(Call {
            world: self.clone(),
            request: Some(request),
            id: None,
        })
    }
}

impl Inner {
    fn note(&mut self, line: &str) {
        for byte in line.bytes() {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if let Some(trace) = &mut self.trace {
            trace.push(line.to_owned());
        }
    }

    fn fire(&mut self, fate: Fate) {
        *self.fired.entry(fate).or_default() += 1;
    }

    /// What befalls a call.
    fn fate(&mut self, request: &Request) -> Option<Fate> {
        // A collection lists 256 folders of packs. Each of them fails as rarely as makes all of them fail as often as
        // another call.
        let one_in = match request {
            Request::List(_) => self.one_in * 64,
            Request::Pause => 0,
            _ => self.one_in,
        };
        if one_in == 0 || !self.dice.once_in(one_in) {
            return None;
        }
        let fates: &[Fate] = match request {
            Request::List(_) => &[Fate::Failed, Fate::BrokeOff, Fate::OldListing],
            _ if request.changes_something() => &[Fate::Failed, Fate::AnswerLost, Fate::Delayed, Fate::Twice],
            _ => &[Fate::Failed],
        };
        self.dice.one_of(fates)
    }

    fn do_late(&mut self) {
        let at = self.dice.below(self.late.len());
        if let Some(request) = self.late.remove(at) {
            self.note(&format!("late: {request}"));
            self.fire(Fate::CameLate);
            self.perform(&request, None);
        }
    }

    /// Does a call, or answers it. Returns who waits for the answer.
    fn advance(&mut self, id: u64) -> Option<Waker> {
        let open = self.open.get(&id)?;
        if open.answer.is_none() {
            let (request, fate) = (open.request.clone(), open.fate);
            self.note(&match fate {
                Some(fate) => format!("{id} {fate:?}: {request}"),
                None => format!("{id}: {request}"),
            });
            if let Some(fate) = fate {
                self.fire(fate);
            }
            let answer = match fate {
                Some(Fate::Failed) => failed(&request),
                Some(Fate::Delayed) => {
                    self.late.push_back(request.clone());
                    failed(&request)
                }
                Some(Fate::AnswerLost) => {
                    self.perform(&request, None);
                    failed(&request)
                }
                Some(Fate::Twice) => {
                    self.late.push_back(request.clone());
                    self.perform(&request, None)
                }
                other => self.perform(&request, other),
            };
            let open = self.open.get_mut(&id)?;
            open.answer = Some(answer);
            if request.changes_something() {
                return None;
            }
        }
        let open = self.open.get_mut(&id)?;
        open.is_answered = true;
        Some(open.waker.clone())
    }

    fn perform(&mut self, request: &Request, fate: Option<Fate>) -> Answer {
        self.changed |= request.changes_something();
        let objects = Arc::clone(&self.objects);
        match request.clone() {
            Request::Put(path, payload, options) => {
                let put = now(objects.put_opts(&path, payload, options));
                if put.is_ok() {
                    self.written.insert(path, self.now_s);
                }
                Answer::Put(put)
            }
            Request::Get(path, options) => Answer::Get(now(objects.get_opts(&path, options)).map(|mut got| {
                self.date(&mut got.meta);
                got
            })),
            Request::Ranges(path, ranges) => Answer::Ranges(now(objects.get_ranges(&path, &ranges))),
            Request::Delete(path) => Answer::Deleted(now(objects.delete(&path))),
            Request::List(prefix) => {
                let mut all: Vec<ObjectMeta> = now(objects.list(prefix.as_ref()).try_collect()).unwrap_or_default();
                all.iter_mut().for_each(|meta| self.date(meta));
                match fate {
                    Some(Fate::BrokeOff) => {
                        all.truncate(self.dice.below(all.len()));
                        Answer::Listed(all, Err(no_answer(request)))
                    }
                    Some(Fate::OldListing) if prefix.is_some_and(|prefix| prefix.as_ref().contains("/packs/")) => {
                        let newest = all.iter().map(|meta| meta.last_modified).max();
                        all.retain(|meta| Some(meta.last_modified) != newest);
                        Answer::Listed(all, Ok(()))
                    }
                    _ => Answer::Listed(all, Ok(())),
                }
            }
            Request::Folders(prefix) => Answer::Folders(now(objects.list_with_delimiter(prefix.as_ref()))),
            Request::Pause => Answer::Awake,
        }
    }

    /// Objects have the times of this world.
    fn date(&self, meta: &mut ObjectMeta) {
        let written = self.written.get(&meta.location).copied().unwrap_or(self.now_s);
        let time = std::time::UNIX_EPOCH + Duration::from_secs(written.unsigned_abs());
        meta.last_modified = time.into();
    }
}

/// The result of a future that does not wait.
fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("memory does not wait")
}

fn no_answer(request: &Request) -> object_store::Error {
    WireFault::passing(format!("no answer: {request}")).into_error()
}

fn failed(request: &Request) -> Answer {
    let error = no_answer(request);
    match request {
        Request::Put(..) => Answer::Put(Err(error)),
        Request::Get(..) => Answer::Get(Err(error)),
        Request::Ranges(..) => Answer::Ranges(Err(error)),
        Request::Delete(_) => Answer::Deleted(Err(error)),
        Request::List(_) => Answer::Listed(Vec::new(), Err(error)),
        Request::Folders(_) => Answer::Folders(Err(error)),
        Request::Pause => Answer::Awake,
    }
}
